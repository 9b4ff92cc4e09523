//! Reading a recipe's file.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::path::Path;

use phantasia_core::DiagnosticKind;

use super::MAX_BYTES;
use crate::metadata;
use phantasia_core::diagnostic::RECIPE;

/// A PNG that is read from a stream is read as far as this: its recipe stands before its pixels.
const MOST_OF_A_PNG: u64 = 4 * MAX_BYTES;

/// The text of a recipe file, or the recipe in a PNG that Phantasia wrote.
pub(super) fn read(path: &Path) -> Result<String, DiagnosticKind> {
    let mut file = File::open(path).map_err(DiagnosticKind::Unreadable)?;
    let about = file.metadata().map_err(DiagnosticKind::Unreadable)?;
    if about.is_dir() {
        return Err(if path.join(RECIPE).is_file() {
            DiagnosticKind::RunFolder(path.to_owned())
        } else {
            DiagnosticKind::Folder
        });
    }
    if let Some(text) = text(&mut file)? {
        return Ok(text);
    }
    file.rewind().map_err(DiagnosticKind::Unreadable)?;
    from_png(BufReader::new(file))
}

/// The same from a stream.
pub(super) fn read_stream(mut input: impl Read) -> Result<String, DiagnosticKind> {
    if let Some(text) = text(&mut input)? {
        return Ok(text);
    }
    let mut bytes = metadata::SIGNATURE.to_vec();
    (input.take(MOST_OF_A_PNG).read_to_end(&mut bytes)).map_err(DiagnosticKind::Unreadable)?;
    from_png(Cursor::new(bytes))
}

/// The text, or `None` after the signature of a PNG.
fn text(input: &mut impl Read) -> Result<Option<String>, DiagnosticKind> {
    let mut bytes = vec![];
    let signature = metadata::SIGNATURE.len() as u64;
    for most in [signature, MAX_BYTES + 1 - signature] {
        (input.by_ref().take(most).read_to_end(&mut bytes)).map_err(DiagnosticKind::Unreadable)?;
        if bytes == metadata::SIGNATURE {
            return Ok(None);
        }
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Err(DiagnosticKind::TooLarge { most: MAX_BYTES });
    }
    // without a byte order mark, Latin letters in UTF-16 are valid UTF-8
    if let Some(byte) = bytes.iter().position(|byte| *byte == 0) {
        return Err(DiagnosticKind::NotText { byte });
    }
    let not_text = |error: std::string::FromUtf8Error| DiagnosticKind::NotText {
        byte: error.utf8_error().valid_up_to(),
    };
    String::from_utf8(bytes).map(Some).map_err(not_text)
}

fn from_png(png: impl BufRead + Seek) -> Result<String, DiagnosticKind> {
    metadata::read(png)
        .map_err(|error| DiagnosticKind::NoRecipe(format!("cannot read this PNG: {error}")))?
        .remove(metadata::RECIPE)
        .ok_or_else(|| {
            let message = "there is no recipe in this PNG: Phantasia did not write it, or another program has rewritten it";
            DiagnosticKind::NoRecipe(message.to_owned())
        })
}
