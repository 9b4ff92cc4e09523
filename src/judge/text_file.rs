//! Text files that users write: labels, prompts.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The most that is read of a file: more is no list that somebody wrote.
const MAX_BYTES: u64 = 64 << 20;

/// The text of a file in UTF-8, or in UTF-16 of either byte order if it begins with a byte order mark, as editors and shells of Windows write
/// it. Errors call it `what`, such as `the labels`.
///
/// # Errors
/// When the file cannot be read, or is in another encoding.
pub(crate) fn read(path: &Path, what: &str) -> Result<String> {
    let about = || format!("cannot read {what} {}", path.display());
    let file = File::open(path).with_context(about)?;
    let mut bytes = vec![];
    let length = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    if length.with_context(about)? as u64 > MAX_BYTES {
        bail!("{} has more than {} MiB", path.display(), MAX_BYTES >> 20);
    }
    decode(&bytes).with_context(|| format!("in {}", path.display()))
}

/// The lines of a text, each with its number from 1 and without the space around it. Empty lines and those that begin with `#` are left out.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // a line ends with LF, with CR LF, or with CR alone
    let lines =
        (text.split('\n')).flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'));
    let numbered = (1..).zip(lines.map(str::trim));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// The text of a file, or an error that names the likely encoding, or the line that is not UTF-8.
fn decode(bytes: &[u8]) -> Result<String> {
    if bytes.starts_with(b"\xff\xfe\0\0") || bytes.starts_with(b"\0\0\xfe\xff") {
        bail!("it is UTF-32: save it as UTF-8");
    }
    if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        return utf16(rest, u16::from_le_bytes);
    }
    if let Some(rest) = bytes.strip_prefix(b"\xfe\xff") {
        return utf16(rest, u16::from_be_bytes);
    }
    if bytes.contains(&0) {
        bail!("it looks like UTF-16 without a byte order mark: save it as UTF-8");
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            bail!("line {line} is not UTF-8: save it as UTF-8")
        }
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String> {
    let (units, rest) = bytes.as_chunks::<2>();
    let units: Vec<u16> = units.iter().map(|pair| unit(*pair)).collect();
    match String::from_utf16(&units) {
        Ok(text) if rest.is_empty() => Ok(text),
        _ => bail!("it begins like UTF-16 and is damaged: save it as UTF-8"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encodings_of_editors_are_read() {
        let text = "tench\r\n日本 \u{1F41F}\r\n";
        let units = |to_bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            let marked = std::iter::once(0xfeff).chain(text.encode_utf16());
            marked.flat_map(to_bytes).collect()
        };
        for bytes in [
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            units(u16::to_le_bytes),
            units(u16::to_be_bytes),
        ] {
            assert_eq!(decode(&bytes).expect("a text"), text);
        }
        let marked: Vec<_> = lines("\u{feff}a\r\r\n # b\n b #c").collect();
        assert_eq!(marked, [(1, "a"), (4, "b #c")]);
    }

    #[test]
    fn other_encodings_are_refused_by_name() {
        for (bytes, message) in [
            (&b"t\0e\0n\0c\0h\0"[..], "UTF-16 without a byte order mark"),
            (b"\xff\xfea\0b", "UTF-16 and is damaged"),
            (b"\xff\xfe\x00\xd8a\0", "UTF-16 and is damaged"),
            (b"\xff\xfe\0\0a\0\0\0", "UTF-32"),
            (b"a\ncaf\xe9\n", "line 2 is not UTF-8"),
        ] {
            let error = decode(bytes).expect_err("no text").to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
