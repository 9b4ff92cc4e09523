//! A line of text that is edited: the model alone, without keys and pixels.

use std::ops::Range;

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

/// The longest text in bytes. CLIP reads some seventy words; more is a paste gone wrong.
const LONGEST: usize = 4096;
/// At most this many states are kept to go back to.
const UNDOS: usize = 100;

/// A single line of text with a caret and a selection.
///
/// Offsets are in bytes and lie between graphemes, what the user takes for one character: `e` with an accent, a flag, a
/// family. Line breaks of a pasted text become spaces; other control characters are dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Editor {
    text: String,
    caret: usize,
    /// The other end of the selection.
    anchor: usize,
    undos: Vec<(String, usize)>,
    typing: bool,
}

/// Where the caret moves, or how far text is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Motion {
    Left,
    Right,
    WordLeft,
    WordRight,
    /// The beginning of the text.
    Start,
    /// The end of the text.
    End,
}

impl Editor {
    /// A text with the caret at its end.
    pub(super) fn new(text: &str) -> Self {
        let text = cut_to(&cleaned(text), LONGEST).to_owned();
        let end = text.len();
        Self {
            text,
            caret: end,
            anchor: end,
            ..Self::default()
        }
    }

    /// The text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The offset of the caret.
    pub(super) fn caret(&self) -> usize {
        self.caret
    }

    /// The range of the selection; empty if nothing is selected.
    pub(super) fn selection(&self) -> Range<usize> {
        self.caret.min(self.anchor)..self.caret.max(self.anchor)
    }

    /// The selected text.
    pub(super) fn selected(&self) -> &str {
        &self.text[self.selection()]
    }

    /// Puts a text in place of the selection, as far as there is room for it.
    pub(super) fn insert(&mut self, text: &str) {
        let text = cleaned(text);
        let selection = self.selection();
        let room = LONGEST - (self.text.len() - selection.len());
        let text = cut_to(&text, room);
        if text.is_empty() && selection.is_empty() {
            return;
        }
        // typing of a word is undone at once
        let is_character = text.chars().count() == 1 && selection.is_empty();
        self.replace(selection, text, is_character && text != " ");
    }

    /// Deletes the selection, or without one the text that a motion passes over.
    pub(super) fn delete(&mut self, motion: Motion) {
        if self.selection().is_empty() {
            let to = self.destination(motion);
            self.replace(self.caret.min(to)..self.caret.max(to), "", false);
        } else {
            self.delete_selection();
        }
    }

    /// Deletes the selection.
    pub(super) fn delete_selection(&mut self) {
        self.replace(self.selection(), "", false);
    }

    /// Moves the caret. A character's motion that does not extend a selection goes to that end of it.
    pub(super) fn go(&mut self, motion: Motion, select: bool) {
        let selection = self.selection();
        let collapses = !select && !selection.is_empty();
        let to = match motion {
            Motion::Left if collapses => selection.start,
            Motion::Right if collapses => selection.end,
            motion => self.destination(motion),
        };
        self.place(to, select);
    }

    /// Moves the caret to an offset, or to the nearest one after it between two characters.
    pub(super) fn place(&mut self, offset: usize, select: bool) {
        self.caret = self.snapped(offset);
        if !select {
            self.anchor = self.caret;
        }
        self.typing = false;
    }

    /// Selects all of the text.
    pub(super) fn select_all(&mut self) {
        self.place(0, false);
        self.place(self.text.len(), true);
    }

    /// Selects the word at an offset, or what is between two words there.
    pub(super) fn select_word(&mut self, offset: usize) {
        let offset = self.snapped(offset);
        let word = (self.text.split_word_bound_indices())
            .map(|(start, word)| start..start + word.len())
            .find(|word| word.contains(&offset) || word.end == self.text.len())
            .unwrap_or(0..0);
        self.place(word.start, false);
        self.place(word.end, true);
    }

    /// Takes the last change back.
    pub(super) fn undo(&mut self) {
        if let Some((text, caret)) = self.undos.pop() {
            self.text = text;
            self.caret = caret;
            self.anchor = caret;
        }
        self.typing = false;
    }

    fn replace(&mut self, range: Range<usize>, text: &str, typing: bool) {
        if range.is_empty() && text.is_empty() {
            return;
        }
        if !(typing && self.typing) {
            if self.undos.len() == UNDOS {
                self.undos.remove(0);
            }
            self.undos.push((self.text.clone(), self.caret));
        }
        let end = range.start + text.len();
        self.text.replace_range(range, text);
        // an accent joins the letter before it, and may join the one after it
        self.place(end, false);
        self.typing = typing;
    }

    /// Where a motion leads from the caret.
    fn destination(&self, motion: Motion) -> usize {
        let (text, caret) = (&self.text, self.caret);
        let words = || text.unicode_word_indices();
        let to = match motion {
            Motion::Left => {
                let before = self.cursor(caret).prev_boundary(text, 0);
                before.ok().flatten().unwrap_or(0)
            }
            Motion::Right => self.after(caret),
            Motion::WordLeft => (words().map(|(start, _)| start))
                .take_while(|start| *start < caret)
                .last()
                .unwrap_or(0),
            Motion::WordRight => (words().map(|(start, word)| start + word.len()))
                .find(|end| *end > caret)
                .unwrap_or(text.len()),
            Motion::Start => 0,
            Motion::End => text.len(),
        };
        self.snapped(to)
    }

    /// The nearest offset between two characters that is not before this one.
    fn snapped(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset += 1;
        }
        match self.cursor(offset).is_boundary(&self.text, 0) {
            Ok(false) => self.after(offset),
            _ => offset,
        }
    }

    fn after(&self, offset: usize) -> usize {
        let after = self.cursor(offset).next_boundary(&self.text, 0);
        after.ok().flatten().unwrap_or(self.text.len())
    }

    fn cursor(&self, offset: usize) -> GraphemeCursor {
        GraphemeCursor::new(offset, self.text.len(), true)
    }
}

/// How far a line is to be moved to the left so that its caret shows, given how far it was moved before. All in pixels.
///
/// `room` is the visible width; some of the text around the caret stays in sight.
pub(super) fn scrolled(before: f32, caret: f32, width: f32, room: f32) -> f32 {
    let margin = (room * 0.1).min(24.0);
    let most = (width - room).max(0.0);
    let shows_left = (caret - margin).max(0.0);
    let shows_right = caret + margin - room;
    before
        .clamp(shows_right.min(shows_left), shows_left)
        .clamp(0.0, most)
}

/// The text without control characters; line breaks and tabs become spaces.
fn cleaned(text: &str) -> String {
    (text.replace("\r\n", "\n").chars())
        .filter_map(|c| match c {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
            // the directional marks turn all that follows, the byte order mark has no shape
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => None,
            c if c.is_control() => None,
            c => Some(c),
        })
        .collect()
}

/// The graphemes that fit into so many bytes.
fn cut_to(text: &str, bytes: usize) -> &str {
    let end = (text.grapheme_indices(true))
        .map(|(start, grapheme)| start + grapheme.len())
        .take_while(|end| *end <= bytes)
        .last()
        .unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests;
