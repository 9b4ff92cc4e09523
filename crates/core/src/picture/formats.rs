//! The picture formats that are supported, and the names of those that are not, by extension and by signature.

use std::path::Path;
use std::sync::LazyLock;

use serde::Deserialize;

/// Extensions of the files in a folder that are read as pictures. The format is determined by the content, not by the extension.
const READ: [&str; 16] = [
    "apng", "bmp", "dib", "gif", "jfi", "jfif", "jif", "jpe", "jpeg", "jpg", "mpo", "pjp", "png",
    "tif", "tiff", "webp",
];

/// A camera's raw data, usually a TIFF whose first picture is a thumbnail.
const CAMERA_RAW: &str = "camera RAW";

/// A picture format that is not supported.
#[derive(Deserialize)]
struct Format {
    name: String,
    /// The extensions of its files.
    #[serde(default)]
    endings: Vec<String>,
    /// What its files begin with, a character a byte; `ftyp` and a brand stand behind four other bytes.
    #[serde(default)]
    signatures: Vec<String>,
}

static NOT_READ: LazyLock<Vec<Format>> = LazyLock::new(|| {
    let formats = serde_json::from_str(include_str!("formats.json"));
    formats.expect("formats.json is part of the program and tested")
});

/// Whether a file's extension, in upper or lower case, is one of a supported format.
pub fn is_read(path: &Path) -> bool {
    ending(path).is_some_and(|ending| READ.contains(&ending.as_str()))
}

/// The name of the unsupported picture format that a file's extension belongs to.
pub fn not_read(path: &Path) -> Option<&'static str> {
    let ending = ending(path)?;
    let found = NOT_READ
        .iter()
        .find(|format| format.endings.contains(&ending));
    found.map(|format| format.name.as_str())
}

/// [`CAMERA_RAW`], if a file has an extension of raw data and its content is TIFF.
pub(super) fn camera_raw(path: &Path, bytes: &[u8]) -> Option<&'static str> {
    let is_tiff = bytes.starts_with(b"II*\0") || bytes.starts_with(b"MM\0*");
    not_read(path).filter(|name| is_tiff && *name == CAMERA_RAW)
}

/// The name of the unsupported format of pictures (or pages) whose signature the bytes begin with.
pub(super) fn recognised(bytes: &[u8]) -> Option<&'static str> {
    let begins = |signature: &String| {
        let start = if signature.starts_with("ftyp") { 4 } else { 0 };
        let characters = bytes.iter().skip(start).map(|byte| char::from(*byte));
        (characters.take(signature.chars().count())).eq(signature.chars())
    };
    if let Some(format) = (NOT_READ.iter()).find(|format| format.signatures.iter().any(begins)) {
        return Some(&format.name);
    }
    // an SVG may begin with a declaration and comments
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let head = &bytes[..bytes.len().min(1024)];
    let is_svg = head.starts_with(b"<?xml") && head.windows(4).any(|part| part == b"<svg");
    is_svg.then_some("SVG")
}

fn ending(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_known_in_any_case() {
        for name in ["a.jfif", "a.JPE", "a.Mpo", "a.b.PNG"] {
            assert!(is_read(Path::new(name)), "{name}");
            assert_eq!(not_read(Path::new(name)), None, "{name}");
        }
        for (name, format) in [
            ("a.HEIC", "HEIC"),
            ("a.avif", "AVIF"),
            ("a.jxl", "JPEG XL (JXL)"),
            ("a.SVG", "SVG"),
            ("a.CR2", "camera RAW"),
            ("a.psd", "Photoshop (PSD)"),
        ] {
            assert!(!is_read(Path::new(name)), "{name}");
            assert_eq!(not_read(Path::new(name)), Some(format), "{name}");
        }
        for name in ["notes.txt", "png", ".png", "a.pdf", "a"] {
            let path = Path::new(name);
            assert_eq!((is_read(path), not_read(path)), (false, None), "{name}");
        }
    }

    #[test]
    fn no_ending_is_listed_twice() {
        let mut all: Vec<&str> = (NOT_READ.iter())
            .flat_map(|format| format.endings.iter().map(String::as_str))
            .chain(READ)
            .collect();
        all.sort_unstable();
        let count = all.len();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn contents_are_recognised_whatever_the_ending() {
        for (bytes, format) in [
            (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], Some("HEIC")),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", Some("HEIC")),
            (b"\0\0\0\x1cftypavif\0\0\0\0", Some("AVIF")),
            (b"\xff\x0a\0", Some("JPEG XL (JXL)")),
            (b"<?xml version=\"1.0\"?>\n<!-- x -->\n<svg>", Some("SVG")),
            (b"<?xml version=\"1.0\"?><html>", None),
            (b"words", None),
            (b"", None),
        ] {
            assert_eq!(recognised(bytes), format, "{bytes:?}");
        }
    }
}
