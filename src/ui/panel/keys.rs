//! What keys and clicks mean.

use std::time::Instant;

use crate::live::{Command, Severity, View};
use crate::recipe::{Edit, Restart};

use super::super::editor::{Editor, Motion};
use super::{Action, Key, Modifiers, Panel, RATE_STEP, Shortcut, Target};

impl Panel {
    /// Handles a character, where no prompt is being edited.
    pub(super) fn command(&mut self, c: char, now: Instant) {
        match c {
            ' ' => self.paused.set(!self.paused.value, now),
            'v' | 'V' => {
                let other = match self.view.value {
                    View::Image => View::Cutouts,
                    View::Cutouts => View::Image,
                };
                self.view.set(other, now);
                self.end_drawing();
            }
            'g' | 'G' => self.draw_or_remove_region(now),
            's' | 'S' => {
                self.send(Command::Snapshot);
                self.announce("The snapshot is saved after this step", now);
            }
            'r' => self.restart(Restart::Image, now),
            'R' => self.restart(Restart::Scratch, now),
            'z' | 'Z' => {
                // an edit that was not sent yet is sent, then undone with the rest
                self.send_due(now, true);
                // the worker's state after it holds
                self.forget_requests();
                self.send(Command::Undo);
                self.announce("The last edit is taken back after this step", now);
            }
            '+' | '=' => self.change_rate(RATE_STEP, now),
            '-' | '_' | '\u{2212}' => self.change_rate(1.0 / RATE_STEP, now),
            'f' | 'F' => self.change_fade(c == 'f', now),
            'n' | 'N' => self.add(now),
            'x' | 'X' => self.remove(now),
            'h' | 'H' | '?' => self.help = true,
            'q' | 'Q' => self.actions = self.close(now),
            _ => {}
        }
    }

    fn restart(&mut self, restart: Restart, now: Instant) {
        self.send_due(now, true);
        self.send(Edit::with(|edit| edit.restart = Some(restart)).into());
        self.announce("The render begins again after this step", now);
    }

    /// Says what will be done after the current step, if steps take so long that the user might think that nothing happens.
    fn announce(&mut self, text: &str, now: Instant) {
        let is_slow = (self.frame.as_ref()).is_some_and(|frame| {
            let working = !(frame.paused || frame.finished);
            working && (0.0..1.0).contains(&frame.steps_per_second)
        });
        if is_slow {
            self.notify(text, Severity::Info, now);
        }
    }

    /// Handles another key, where no prompt is being edited.
    pub(super) fn key(&mut self, key: Key, held: Modifiers, now: Instant) {
        match key {
            Key::Enter => self.begin(self.selected, None, now),
            Key::Tab => self.select_next(held.shift),
            Key::Up | Key::Down => self.change_weight(key == Key::Up, held.shift, now),
            Key::Delete | Key::Backspace if self.is_drawing => self.remove_region(now),
            Key::Delete | Key::Backspace => self.remove(now),
            Key::Home => self.selected = 0,
            Key::End => self.selected = self.prompts.value.len().saturating_sub(1),
            Key::Escape if self.is_drawing => self.end_drawing(),
            Key::Escape => self.messages.clear(),
            Key::Left | Key::Right => {}
        }
    }

    /// Handles another key, in a prompt's text.
    pub(super) fn editing_key(&mut self, key: Key, held: Modifiers, now: Instant) {
        let Modifiers { shift, ctrl } = held;
        let (left, right) = if ctrl {
            (Motion::WordLeft, Motion::WordRight)
        } else {
            (Motion::Left, Motion::Right)
        };
        match key {
            Key::Enter => match self.typed_prompt() {
                // the edit stays open, so that it can be corrected
                Some(Err(why)) => self.notify(&why, Severity::Error, now),
                _ => self.commit(now),
            },
            Key::Escape => self.cancel(),
            Key::Tab => {
                self.commit(now);
                self.select_next(shift);
                self.begin(self.selected, None, now);
            }
            Key::Up | Key::Down => self.change_weight(key == Key::Up, shift, now),
            Key::Backspace => self.edit(|line| line.delete(left)),
            Key::Delete => self.edit(|line| line.delete(right)),
            Key::Left => self.edit(|line| line.go(left, shift)),
            Key::Right => self.edit(|line| line.go(right, shift)),
            Key::Home => self.edit(|line| line.go(Motion::Start, shift)),
            Key::End => self.edit(|line| line.go(Motion::End, shift)),
        }
    }

    pub(super) fn shortcut(&mut self, shortcut: Shortcut, now: Instant) {
        match shortcut {
            Shortcut::Paste => self.actions.push(Action::Paste),
            Shortcut::Copy | Shortcut::Cut => {
                let text = match &self.editing {
                    Some(editing) => editing.line.selected(),
                    None => self.text(self.selected),
                };
                if !text.is_empty() {
                    self.actions.push(Action::Copy(text.to_owned()));
                }
                if shortcut == Shortcut::Cut {
                    self.edit(Editor::delete_selection);
                }
            }
            Shortcut::SelectAll => self.edit(Editor::select_all),
            Shortcut::CutToStart => self.edit(|line| line.delete(Motion::Start)),
            Shortcut::CutToEnd => self.edit(|line| line.delete(Motion::End)),
            Shortcut::Undo if self.editing.is_some() => self.edit(Editor::undo),
            Shortcut::Undo => self.command('z', now),
        }
    }

    pub(super) fn click(&mut self, target: Target, shift: bool, double: bool, now: Instant) {
        match target {
            Target::Prompt(row, _) if self.is_drawing => self.selected = row,
            Target::Prompt(row, offset) => {
                let edited = self.editing.as_ref().map(|editing| editing.row);
                if edited == Some(row) {
                    self.edit(|line| line.place(offset, shift));
                } else {
                    // a prompt that was emptied goes away, and those below it move up
                    let before = self.prompts.value.len();
                    self.commit(now);
                    let gone = before - self.prompts.value.len();
                    let is_below = edited.is_some_and(|edited| edited < row);
                    let row = if is_below { row - gone.min(row) } else { row };
                    self.begin(row, Some(offset), now);
                }
                if double {
                    self.edit(|line| line.select_word(offset));
                }
            }
            Target::Add => {
                self.commit(now);
                self.add(now);
            }
            Target::Help => self.help = true,
            Target::Picture(at) => {
                self.commit(now);
                self.begin_drag(at);
            }
            Target::Elsewhere => self.commit(now),
        }
    }
}
