//! The picture formats that are supported, and the names of those that are not, by extension and by signature.

use std::path::Path;

/// Extensions of the files in a folder that are read as pictures. The format is determined by the content, not by the extension.
const READ: [&str; 16] = [
    "apng", "bmp", "dib", "gif", "jfi", "jfif", "jif", "jpe", "jpeg", "jpg", "mpo", "pjp", "png",
    "tif", "tiff", "webp",
];

/// A camera's raw data, usually a TIFF whose first picture is a thumbnail.
const CAMERA_RAW: &str = "camera RAW";

/// Unsupported picture formats, and the extensions of their files.
const NOT_READ: [(&str, &[&str]); 19] = [
    ("AVIF", &["avif", "avifs"]),
    (
        CAMERA_RAW,
        &[
            "3fr", "arw", "cr2", "cr3", "crw", "dcr", "dng", "erf", "iiq", "kdc", "mef", "mos",
            "mrw", "nef", "nrw", "orf", "pef", "raf", "rw2", "rwl", "sr2", "srf", "srw", "x3f",
        ],
    ),
    ("BPG", &["bpg"]),
    ("DDS", &["dds"]),
    ("EPS", &["eps"]),
    ("FLIF", &["flif"]),
    ("GIMP (XCF)", &["xcf"]),
    ("HDR", &["hdr"]),
    ("HEIC", &["heic", "heics", "heif", "heifs", "hif"]),
    ("ICO", &["cur", "ico"]),
    ("JPEG 2000", &["j2c", "j2k", "jp2", "jpf", "jpx"]),
    ("JPEG XL (JXL)", &["jxl"]),
    ("JPEG XR", &["hdp", "jxr", "wdp"]),
    ("OpenEXR", &["exr"]),
    ("PNM", &["pam", "pbm", "pgm", "pnm", "ppm"]),
    ("Photoshop (PSD)", &["psb", "psd"]),
    ("QOI", &["qoi"]),
    ("SVG", &["svg", "svgz"]),
    ("TGA", &["tga"]),
];

/// Signatures of unsupported formats: name, offset in bytes, signature.
const SIGNATURES: [(&str, usize, &[u8]); 29] = [
    ("AVIF", 4, b"ftypavif"),
    ("AVIF", 4, b"ftypavis"),
    ("HEIC", 4, b"ftyphei"),
    ("HEIC", 4, b"ftyphev"),
    ("HEIC", 4, b"ftypmif1"),
    ("HEIC", 4, b"ftypmsf1"),
    (CAMERA_RAW, 4, b"ftypcrx "),
    (CAMERA_RAW, 0, b"FUJIFILMCCD-RAW"),
    (CAMERA_RAW, 0, b"FOVb"),
    (CAMERA_RAW, 0, b"IIRO"),
    (CAMERA_RAW, 0, b"IIU\0"),
    (CAMERA_RAW, 0, b"\0MRM"),
    ("JPEG XL (JXL)", 0, b"\xff\x0a"),
    ("JPEG XL (JXL)", 0, b"\0\0\0\x0cJXL \r\n\x87\n"),
    ("JPEG 2000", 0, b"\0\0\0\x0cjP  \r\n\x87\n"),
    ("JPEG 2000", 0, b"\xff\x4f\xff\x51"),
    ("JPEG XR", 0, b"II\xbc"),
    ("Photoshop (PSD)", 0, b"8BPS"),
    ("GIMP (XCF)", 0, b"gimp xcf"),
    ("OpenEXR", 0, b"v/1\x01"),
    ("HDR", 0, b"#?RADIANCE"),
    ("QOI", 0, b"qoif"),
    ("DDS", 0, b"DDS "),
    ("FLIF", 0, b"FLIF"),
    ("BPG", 0, b"BPG\xfb"),
    ("ICO", 0, b"\0\0\x01\0"),
    ("EPS", 0, b"%!PS"),
    ("PDF", 0, b"%PDF-"),
    ("SVG", 0, b"<svg"),
];

/// Whether a file's extension, in upper or lower case, is one of a supported format.
pub fn is_read(path: &Path) -> bool {
    ending(path).is_some_and(|ending| READ.contains(&ending.as_str()))
}

/// The name of the unsupported picture format that a file's extension belongs to.
pub fn not_read(path: &Path) -> Option<&'static str> {
    let ending = ending(path)?;
    (NOT_READ.iter())
        .find(|(_, endings)| endings.contains(&ending.as_str()))
        .map(|(name, _)| *name)
}

/// [`CAMERA_RAW`], if a file has an extension of raw data and its content is TIFF.
pub(super) fn camera_raw(path: &Path, bytes: &[u8]) -> Option<&'static str> {
    let is_tiff = bytes.starts_with(b"II*\0") || bytes.starts_with(b"MM\0*");
    not_read(path).filter(|name| is_tiff && *name == CAMERA_RAW)
}

/// The name of the unsupported format of pictures (or pages) whose signature the bytes begin with.
pub(super) fn recognised(bytes: &[u8]) -> Option<&'static str> {
    let begins = |(_, at, signature): &&(&str, usize, &[u8])| {
        bytes
            .get(*at..)
            .is_some_and(|rest| rest.starts_with(signature))
    };
    if let Some((name, ..)) = SIGNATURES.iter().find(begins) {
        return Some(name);
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
            .flat_map(|(_, endings)| endings.iter().copied())
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
