//! Paths as text: a file name is a sequence of bytes, which may not be UTF-8 or may contain line breaks.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use phantasia_core::diagnostic::is_hidden;
use serde_json::Value;

/// A path as one line of readable text: unchanged if possible, else quoted as in bash and zsh, `$'new\nline.png'` or `$'caf\xE9.png'`,
/// so that it can be pasted into a command.
///
/// Quoted are paths that are not UTF-8, and those with control characters, line separators or bidirectional control characters.
pub fn one_line(path: &Path) -> String {
    if let Some(text) = path.to_str()
        && !text.chars().any(is_hidden)
    {
        return text.to_owned();
    }
    let mut quoted = String::from("$'");
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => quoted.push_str("\\n"),
                '\r' => quoted.push_str("\\r"),
                '\t' => quoted.push_str("\\t"),
                '\\' | '\'' => quoted.extend(['\\', c]),
                // as many digits as the shell reads at most, so that a digit that follows is not taken for a part of it
                c if c.is_ascii_control() => drop(write!(quoted, "\\x{:02X}", u32::from(c))),
                c if is_hidden(c) => drop(write!(quoted, "\\u{:04X}", u32::from(c))),
                c => quoted.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(quoted, "\\x{byte:02X}");
        }
    }
    quoted.push('\'');
    quoted
}

/// The bytes of a path, percent-encoded (RFC 3986) except unreserved characters and `/`.
pub fn percent_encoded(path: &Path) -> String {
    let mut encoded = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                encoded.push(char::from(*byte));
            }
            other => drop(write!(encoded, "%{other:02X}")),
        }
    }
    encoded
}

/// Decodes what [`percent_encoded`] makes. `None` if a percent sign is not followed by two hexadecimal digits or, on systems whose paths are not
/// bytes, if the result is not UTF-8.
pub fn percent_decoded(text: &str) -> Option<PathBuf> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    #[cfg(unix)]
    let path = {
        use std::os::unix::ffi::OsStringExt;
        std::ffi::OsString::from_vec(bytes)
    };
    #[cfg(not(unix))]
    let path = String::from_utf8(bytes).ok()?;
    Some(path.into())
}

/// Inserts a path into a JSON object: as text under `name`, and if it is not UTF-8, also its percent-encoded bytes under `name_encoded`.
pub fn insert_path(object: &mut Value, name: &str, path: &Path) {
    object[name] = path.to_string_lossy().into();
    if path.to_str().is_none() {
        object[format!("{name}_encoded")] = percent_encoded(path).into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_names_stay_as_they_are() {
        for name in [
            "a b.png",
            "it's.png",
            "-x.png",
            "日本\u{1F600}.png",
            "a\\b",
            "$HOME",
        ] {
            assert_eq!(one_line(Path::new(name)), name);
            let mut object = json!({});
            insert_path(&mut object, "path", Path::new(name));
            assert_eq!(object, json!({ "path": name }));
        }
    }

    #[test]
    #[cfg(unix)]
    fn encoded_bytes_are_read_back() {
        use std::os::unix::ffi::OsStrExt;
        let name = Path::new(std::ffi::OsStr::from_bytes(b"p/b\xE9 1%.png"));
        assert_eq!(
            percent_decoded(&percent_encoded(name)).as_deref(),
            Some(name)
        );
        for broken in ["a%", "a%2", "a%zz", "%\u{e9}1"] {
            assert_eq!(percent_decoded(broken), None, "{broken}");
        }
    }

    #[test]
    fn names_that_break_a_line_are_quoted() {
        for (name, shown) in [
            ("new\nline's.png", r"$'new\nline\'s.png'"),
            ("\u{1b}[31m1", r"$'\x1B[31m1'"),
            ("a\u{202E}gnp.exe", r"$'a\u202Egnp.exe'"),
            ("\u{85}\t\r\\", r"$'\u0085\t\r\\'"),
        ] {
            assert_eq!(one_line(Path::new(name)), shown);
        }
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_no_text_keep_their_bytes() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let path = Path::new(OsStr::from_bytes(b"p/b\xe9 1.png"));
        assert_eq!(one_line(path), r"$'p/b\xE9 1.png'");
        let mut object = json!({});
        insert_path(&mut object, "path", path);
        let expected = json!({ "path": "p/b\u{fffd} 1.png", "path_encoded": "p/b%E9%201.png" });
        assert_eq!(object, expected);
    }
}
