//! The single-byte encodings in which UTF-8 text is often decoded by mistake, as in mojibake.

use std::sync::LazyLock;

use serde::Deserialize;

/// A single-byte encoding.
#[derive(Deserialize)]
pub(super) struct Encoding {
    /// Its usual name.
    pub name: String,
    /// Whether decoders replace bytes without a character by U+FFFD; it is encoded as [`LOST`] here.
    pub lossy: bool,
    /// The characters of the bytes from 80 on; for undefined bytes, the control character of the same number, as in browsers.
    upper: String,
}

/// The byte that stands for a lost character.
pub(super) const LOST: u8 = 0x1a;

impl Encoding {
    /// The byte of a character.
    pub fn byte(&self, c: char) -> Option<u8> {
        match c {
            '\u{fffd}' if self.lossy => Some(LOST),
            '\u{1a}' if self.lossy => None,
            '\0'..='\u{7f}' => u8::try_from(c).ok(),
            _ => {
                let place = self.upper.chars().position(|known| known == c)?;
                u8::try_from(0x80 + place).ok()
            }
        }
    }

    /// The bytes of a text, if all of it can be written in this encoding.
    pub fn encode(&self, text: &str) -> Option<Vec<u8>> {
        text.chars().map(|c| self.byte(c)).collect()
    }

    /// The character of a byte.
    pub fn char(&self, byte: u8) -> char {
        match byte.checked_sub(0x80) {
            None => char::from(byte),
            Some(place) => (self.upper.chars().nth(place.into())).unwrap_or('\u{fffd}'),
        }
    }
}

/// The encodings, the most likely first.
pub(super) static ENCODINGS: LazyLock<Vec<Encoding>> = LazyLock::new(|| {
    let encodings = serde_json::from_str(include_str!("encodings.json"));
    encodings.expect("encodings.json is part of the program and tested")
});
