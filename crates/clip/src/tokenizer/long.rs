//! Texts that are longer than the context.

use std::cell::RefCell;

use super::{Tokenizer, Unread};
use crate::error::ClipError;
use crate::options::LongText;

/// A text as a CLIP reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadText {
    /// The text's parts, each of which fits the context; more than one only for a long text whose parts are averaged.
    pub parts: Vec<TextPart>,
    /// The pieces of the text that they do not represent.
    pub unread: Unread,
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextPart {
    /// Its tokens, begin and end among them, padded if the text tower reads the padding.
    pub ids: Vec<u32>,
    /// The number of its own tokens, without begin, end and padding.
    pub count: usize,
}

impl Tokenizer {
    /// The tokens of a text for `model`. One that is longer than the context is cut or divided, as `long_text` says.
    ///
    /// # Errors
    /// As [`Tokenizer::read_text`].
    pub fn read_parts(
        &self,
        model: &str,
        text: &str,
        long_text: LongText,
    ) -> Result<ReadText, ClipError> {
        if long_text == LongText::Average {
            let parts = (self.divided(text))
                .map_err(|error| ClipError::tokenizer(model, error.to_string()))?;
            if let Some(read) = parts.filter(|read| !read.parts.is_empty()) {
                return Ok(read);
            }
        }
        let tokens = self.read_text(model, text)?;
        let part = TextPart {
            count: tokens.count,
            ids: tokens.ids,
        };
        Ok(ReadText {
            parts: vec![part],
            unread: tokens.unread,
        })
    }

    /// The parts of a text; none if it fits the context as a whole.
    fn divided(&self, text: &str) -> tokenizers::Result<Option<ReadText>> {
        let cleaned = self.cleaned(text);
        let whole = self.pieces(&cleaned, &RefCell::default())?;
        let room = self.room()?;
        if whole.len() <= room {
            return Ok(None);
        }
        let starts: Vec<usize> = (whole.get_offsets().iter())
            .map(|(start, _)| *start)
            .collect();
        let mut read = ReadText::default();
        let mut begin = 0;
        while begin < cleaned.len() {
            let first = starts.partition_point(|&start| start < begin);
            let mut end = match starts.get(first + room) {
                Some(&start) => boundary(&cleaned, begin, start),
                None => cleaned.len(),
            };
            // alone, a part may have more tokens than in the middle of its text
            let encoding = loop {
                let own = RefCell::default();
                let encoding = self.pieces(&cleaned[begin..end], &own)?;
                if encoding.len() <= room || end <= next_char(&cleaned, begin) {
                    read.unread.extend(own.into_inner());
                    break encoding;
                }
                let start = begin + encoding.get_offsets()[room].0;
                // one character less at least
                let most = (end - 1).min(start);
                end = boundary(&cleaned, begin, most);
            };
            if !encoding.is_empty() {
                let count = encoding.len().min(room);
                let (mut ids, _) = self.framed(encoding, "")?;
                self.rules.finish(&mut ids);
                read.parts.push(TextPart { ids, count });
            }
            begin = end;
        }
        Ok(Some(read))
    }
}

impl Unread {
    /// Adds what was not read of a later part of the same text.
    fn extend(&mut self, part: Self) {
        self.dropped.extend(part.dropped);
        self.replaced.extend(part.replaced);
        self.unknown.extend(part.unknown);
    }
}

/// The end of the last word that ends at `most` or before; inside of a word that is longer, the last character's. It is behind `begin`.
fn boundary(text: &str, begin: usize, most: usize) -> usize {
    let mut most = most.min(text.len());
    while !text.is_char_boundary(most) {
        most -= 1;
    }
    let part = text.get(begin..most).unwrap_or_default();
    if text[most..].starts_with(char::is_whitespace) && !part.trim().is_empty() {
        return most;
    }
    // the space belongs to the words before it: the next part begins with a word
    let space = part.char_indices().rev().find(|(_, c)| c.is_whitespace());
    match space {
        Some((at, space)) if !part[..at].trim().is_empty() => begin + at + space.len_utf8(),
        _ => most.max(next_char(text, begin)),
    }
}

/// Where the character after the one at `begin` begins.
fn next_char(text: &str, begin: usize) -> usize {
    let length = text[begin..].chars().next().map_or(0, char::len_utf8);
    begin + length
}
