//! What changes the list of prompts: selecting, editing, adding and removing them, and their weights.

use std::time::Instant;

use crate::live::Severity;
use crate::recipe::{Prompt, Schedule};
use phantasia_core::weighted;

use super::super::editor::Editor;
use super::{Editing, Panel, SETTLE};

/// At most this many prompts are listed.
const MOST_PROMPTS: usize = 32;
/// What one press adds to a weight, without and with shift.
const WEIGHT_STEPS: (f64, f64) = (0.1, 0.5);
/// The largest weight that keys reach, for and against.
const MOST_WEIGHT: f64 = 20.0;

impl Panel {
    /// Changes the line that is being edited.
    pub(super) fn edit(&mut self, act: impl FnOnce(&mut Editor)) {
        if let Some(editing) = &mut self.editing {
            act(&mut editing.line);
        }
    }

    /// The text of a prompt; empty for an image.
    pub(super) fn text(&self, row: usize) -> &str {
        let prompt = self.prompts.value.get(row);
        (prompt.and_then(|prompt| prompt.text.as_deref())).unwrap_or_default()
    }

    /// Selects the next prompt, or the one before.
    pub(super) fn select_next(&mut self, back: bool) {
        let count = self.prompts.value.len().max(1);
        self.selected = (self.selected + if back { count - 1 } else { 1 }) % count;
    }

    /// Begins to edit a prompt, with the caret at an offset or at its end.
    pub(super) fn begin(&mut self, row: usize, offset: Option<usize>, now: Instant) {
        let Some(prompt) = self.prompts.value.get(row) else {
            if self.prompts.value.is_empty() {
                self.add(now);
            }
            return;
        };
        let Some(text) = &prompt.text else {
            self.selected = row;
            let text = if prompt.keyframes.is_some() {
                "This prompt goes through several texts: its weight can be changed here, the texts in the recipe"
            } else {
                "This prompt is an image: its weight can be changed here, not what it shows"
            };
            return self.notify(text, Severity::Error, now);
        };
        let mut line = Editor::new(text);
        if let Some(offset) = offset {
            line.place(offset, false);
        }
        self.open(row, line, false);
    }

    fn open(&mut self, row: usize, line: Editor, fresh: bool) {
        self.end_drawing();
        self.selected = row;
        self.editing = Some(Editing {
            row,
            line,
            scroll: 0.0,
            fresh,
        });
    }

    /// Adds a prompt, and begins to edit it.
    pub(super) fn add(&mut self, now: Instant) {
        if self.prompts.value.len() >= MOST_PROMPTS {
            return self.notify("There is no room for more prompts", Severity::Error, now);
        }
        self.prompts.value.push(Prompt::new(""));
        self.open(self.prompts.value.len() - 1, Editor::default(), true);
    }

    /// Removes the selected prompt.
    pub(super) fn remove(&mut self, now: Instant) {
        self.end_drawing();
        if self.prompts.value.len() < 2 {
            let text = "The last prompt stays: there must be something to paint";
            self.notify(text, Severity::Error, now);
        } else if self.selected < self.prompts.value.len() {
            self.prompts.value.remove(self.selected);
            self.prompts.due = Some(now);
        }
        self.keep_in_range();
    }

    /// What was typed into the edited prompt: its new text, and its new weight if one was typed too, or why they cannot be used. `None`
    /// if the text is unchanged.
    pub(super) fn typed_prompt(&self) -> Option<Result<(String, Option<f64>), String>> {
        let editing = self.editing.as_ref()?;
        let typed = editing.line.text().trim();
        (typed != self.text(editing.row)).then(|| {
            let (text, weight) = weighted(typed)?;
            Ok((text.to_owned(), (text != typed).then_some(weight)))
        })
    }

    /// Ends the edit and puts what was typed into the prompt. If the typed weight is not a number, the prompt stays as it was.
    pub(super) fn commit(&mut self, now: Instant) {
        let typed = self.typed_prompt();
        let Some(editing) = self.editing.take() else {
            return;
        };
        let is_empty = editing.line.text().trim().is_empty();
        let typed = typed.filter(|_| !is_empty);
        if editing.fresh && (is_empty || matches!(typed, Some(Err(_)))) {
            self.prompts.value.remove(editing.row);
        } else if is_empty {
            self.selected = editing.row;
            self.remove(now);
        }
        match typed {
            Some(Ok((text, weight))) => {
                if let Some(prompt) = self.prompts.value.get_mut(editing.row) {
                    prompt.text = Some(text);
                    // without a typed weight it keeps its own
                    if let Some(weight) = weight {
                        prompt.weight = Schedule::from(weight);
                    }
                    self.prompts.due = Some(now);
                }
            }
            Some(Err(why)) => self.notify(&why, Severity::Error, now),
            None => {}
        }
        self.keep_in_range();
    }

    /// Ends the edit and leaves the prompt as it was.
    pub(super) fn cancel(&mut self) {
        if let Some(editing) = self.editing.take()
            && editing.fresh
        {
            self.prompts.value.remove(editing.row);
        }
        self.keep_in_range();
    }

    /// Keeps the selection and the edit within the list of prompts.
    pub(super) fn keep_in_range(&mut self) {
        let count = self.prompts.value.len();
        self.selected = self.selected.min(count.saturating_sub(1));
        // the prompt that was being edited is gone: what was typed becomes a new one
        if let Some(editing) = &mut self.editing
            && editing.row >= count
        {
            editing.row = count;
            editing.fresh = true;
            self.selected = count;
            self.prompts.value.push(Prompt::new(""));
        }
    }

    /// Changes the weight of the selected prompt by a step, with `far` by a large one.
    pub(super) fn change_weight(&mut self, up: bool, far: bool, now: Instant) {
        let step = if far { WEIGHT_STEPS.1 } else { WEIGHT_STEPS.0 };
        let Some(prompt) = self.prompts.value.get(self.selected) else {
            return;
        };
        let weight = self.weight(prompt) + if up { step } else { -step };
        // tenths, without what rounding leaves
        let weight = (weight * 10.0).round() / 10.0 + 0.0;
        self.prompts.value[self.selected].weight =
            Schedule::from(weight.clamp(-MOST_WEIGHT, MOST_WEIGHT));
        self.prompts.due = Some(now + SETTLE);
    }
}
