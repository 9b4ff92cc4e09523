//! Reading a recipe's file.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use phantasia_core::DiagnosticKind;

use super::MAX_BYTES;
use crate::metadata;
use phantasia_core::diagnostic::RECIPE;

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
    let mut bytes = vec![];
    let signature = metadata::SIGNATURE.len() as u64;
    for most in [signature, MAX_BYTES + 1 - signature] {
        (file.by_ref().take(most).read_to_end(&mut bytes)).map_err(DiagnosticKind::Unreadable)?;
        if bytes == metadata::SIGNATURE {
            file.rewind().map_err(DiagnosticKind::Unreadable)?;
            return from_png(file);
        }
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Err(DiagnosticKind::TooLarge { most: MAX_BYTES });
    }
    // without a byte order mark, Latin letters in UTF-16 are valid UTF-8
    if let Some(byte) = bytes.iter().position(|byte| *byte == 0) {
        return Err(DiagnosticKind::NotText { byte });
    }
    String::from_utf8(bytes).map_err(|error| DiagnosticKind::NotText {
        byte: error.utf8_error().valid_up_to(),
    })
}

fn from_png(file: File) -> Result<String, DiagnosticKind> {
    metadata::read(BufReader::new(file))
        .map_err(|error| DiagnosticKind::NoRecipe(format!("cannot read this PNG: {error}")))?
        .remove(metadata::RECIPE)
        .ok_or_else(|| {
            let message = "there is no recipe in this PNG: Phantasia did not write it, or another program has rewritten it";
            DiagnosticKind::NoRecipe(message.to_owned())
        })
}
