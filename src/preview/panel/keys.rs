//! What keys and clicks mean.

use std::time::Instant;

use crate::live::{Command, Severity, View};

use super::super::editor::Editor;
use super::{Action, Held, Key, Panel, RATE_STEP, Shortcut, Target};

impl Panel {
    /// A character, where no prompt is being edited.
    pub(super) fn command(&mut self, c: char, now: Instant, actions: &mut Vec<Action>) {
        let send = |actions: &mut Vec<Action>, command| actions.push(Action::Send(command));
        match c {
            ' ' => {
                self.paused.value = !self.paused.value;
                self.paused.due = Some(now);
            }
            'v' | 'V' => {
                self.view.value = match self.view.value {
                    View::Image => View::Cutouts,
                    View::Cutouts => View::Image,
                };
                self.view.due = Some(now);
            }
            's' | 'S' => {
                send(actions, Command::Snapshot);
                self.promise("The snapshot is saved after this step", now);
            }
            'r' | 'R' => {
                actions.extend(self.settled(now, true));
                send(
                    actions,
                    Command::Restart {
                        from_image: c == 'r',
                    },
                );
                self.promise("The render begins again after this step", now);
            }
            'z' | 'Z' => {
                // an edit that was not sent yet is sent, then undone with the rest
                actions.extend(self.settled(now, true));
                // the worker's state after it holds
                self.forget_requests();
                send(actions, Command::Undo);
                self.promise("The last edit is taken back after this step", now);
            }
            '+' | '=' => self.change_rate(RATE_STEP, now),
            '-' | '_' | '\u{2212}' => self.change_rate(1.0 / RATE_STEP, now),
            'f' | 'F' => self.change_fade(c == 'f', now),
            'n' | 'N' => self.add(now),
            'x' | 'X' => self.remove(now),
            'h' | 'H' | '?' => self.help = true,
            'q' | 'Q' => actions.extend(self.close(now)),
            _ => {}
        }
        actions.extend(self.settled(now, false));
    }

    /// Shows what will be done after the current step, if steps take so long that the user might think that nothing happens.
    fn promise(&mut self, text: &str, now: Instant) {
        let is_slow = (self.frame.as_ref()).is_some_and(|frame| {
            let working = !(frame.paused || frame.finished);
            working && (0.0..1.0).contains(&frame.steps_per_second)
        });
        if is_slow {
            self.say(text, Severity::Info, now);
        }
    }

    /// Another key, where no prompt is being edited.
    pub(super) fn key(&mut self, key: Key, held: Held, now: Instant, actions: &mut Vec<Action>) {
        match key {
            Key::Enter => self.begin(self.selected, None, now),
            Key::Tab => self.select_next(held.shift),
            Key::Up | Key::Down => self.change_weight(key == Key::Up, held.shift, now),
            Key::Delete | Key::Backspace => {
                self.remove(now);
                actions.extend(self.settled(now, false));
            }
            Key::Home => self.selected = 0,
            Key::End => self.selected = self.prompts.value.len().saturating_sub(1),
            Key::Escape => self.messages.clear(),
            Key::Left | Key::Right => {}
        }
    }

    /// Another key, in a prompt's text.
    pub(super) fn editing_key(
        &mut self,
        key: Key,
        held: Held,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        let Held { shift, ctrl } = held;
        match key {
            Key::Enter => match self.typed_prompt() {
                // the edit stays open, so that it can be corrected
                Some(Err(why)) => self.say(&why, Severity::Error, now),
                _ => self.commit(now),
            },
            Key::Escape => self.cancel(),
            Key::Tab => {
                self.commit(now);
                self.select_next(shift);
                self.begin(self.selected, None, now);
            }
            Key::Up | Key::Down => self.change_weight(key == Key::Up, shift, now),
            Key::Backspace if ctrl => self.edit(Editor::delete_word_left),
            Key::Backspace => self.edit(Editor::backspace),
            Key::Delete if ctrl => self.edit(Editor::delete_word_right),
            Key::Delete => self.edit(Editor::delete),
            Key::Left if ctrl => self.edit(|line| line.word_left(shift)),
            Key::Left => self.edit(|line| line.left(shift)),
            Key::Right if ctrl => self.edit(|line| line.word_right(shift)),
            Key::Right => self.edit(|line| line.right(shift)),
            Key::Home => self.edit(|line| line.home(shift)),
            Key::End => self.edit(|line| line.end(shift)),
        }
        actions.extend(self.settled(now, false));
    }

    pub(super) fn shortcut(&mut self, shortcut: Shortcut, now: Instant, actions: &mut Vec<Action>) {
        match shortcut {
            Shortcut::Paste => actions.push(Action::Paste),
            Shortcut::Copy | Shortcut::Cut => {
                let text = match &self.editing {
                    Some(editing) => editing.line.selected(),
                    None => self.text(self.selected),
                };
                if !text.is_empty() {
                    actions.push(Action::Copy(text.to_owned()));
                }
                if shortcut == Shortcut::Cut {
                    self.edit(|line| {
                        if !line.selection().is_empty() {
                            line.backspace();
                        }
                    });
                }
            }
            Shortcut::SelectAll => self.edit(Editor::select_all),
            Shortcut::CutToStart => self.edit(Editor::delete_to_start),
            Shortcut::CutToEnd => self.edit(Editor::delete_to_end),
            Shortcut::Undo if self.editing.is_some() => self.edit(Editor::undo),
            Shortcut::Undo => self.command('z', now, actions),
        }
    }

    pub(super) fn click(
        &mut self,
        target: Target,
        shift: bool,
        double: bool,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        match target {
            Target::Prompt(row, offset) => {
                if self
                    .editing
                    .as_ref()
                    .is_some_and(|editing| editing.row == row)
                {
                    self.edit(|line| line.place(offset, shift));
                } else {
                    // a prompt that was emptied goes away, and those below it move up
                    let before = self.prompts.value.len();
                    let above = self
                        .editing
                        .as_ref()
                        .is_some_and(|editing| editing.row < row);
                    self.commit(now);
                    let gone = before - self.prompts.value.len();
                    self.begin(
                        row - if above { gone.min(row) } else { 0 },
                        Some(offset),
                        now,
                    );
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
            Target::Picture | Target::Elsewhere => self.commit(now),
        }
        actions.extend(self.settled(now, false));
    }
}
