//! HTML's character references, as Python's `html.unescape` reads them (HTML 5, section 13.5).

use std::borrow::Cow;

use htmlize::ENTITIES;

/// The longest name of a character that Python considers.
const LONGEST_NAME: usize = 32;
/// The characters of the numbers 128 to 159: those of Windows-1252, as in browsers.
const WINDOWS: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ";

/// Replaces every reference by its character, including those without a semicolon, which HTML allows for older names.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    replace(text, |rest| {
        let (name, length) = reference(rest)?;
        if let Some(number) = name.strip_prefix('#') {
            return Some((numbered(number)?, length));
        }
        if let Some(found) = named(name) {
            return Some((found.to_owned(), length));
        }
        // `&notit;` is `&not` and `it;`
        let ends = name.char_indices().map(|(at, _)| at).rev();
        let (found, at) = ends
            .filter(|at| *at > 1)
            .find_map(|at| Some((named(&name[..at])?, at)))?;
        Some((format!("{found}{}", &name[at..]), length))
    })
}

/// Replaces every reference that ends in a semicolon by its character, including names in capitals (`&EACUTE;`), as ftfy does.
pub(super) fn unescape_whole(text: &str) -> String {
    const LONGEST: usize = 24;
    replace(text, |rest| {
        let end = rest.find(';')?;
        let name = rest[1..end].strip_prefix('#').unwrap_or(&rest[1..end]);
        let fits = (1..=LONGEST).contains(&name.len());
        if !fits || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        let length = end + 1;
        let whole = &rest[1..length];
        if let Some(found) = named(whole) {
            return Some((found.to_owned(), length));
        }
        if let Some(number) = whole.strip_prefix('#') {
            let (name, _) = reference(rest)?;
            let all = name.len() == whole.len();
            return all
                .then(|| numbered(number))
                .flatten()
                .map(|found| (found, length));
        }
        let lower = whole.to_lowercase();
        let in_capitals =
            whole.to_uppercase() == whole && unescape(&rest[..length]) == rest[..length];
        let found = named(&lower).filter(|_| in_capitals)?;
        Some((found.to_uppercase(), length))
    })
    .into_owned()
}

/// Calls `read` with the rest of the text at each `&`; it returns the replacement and the length of what is replaced in bytes.
fn replace(text: &str, read: impl Fn(&str) -> Option<(String, usize)>) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (found, length) = read(rest).unwrap_or_else(|| ("&".to_owned(), 1));
        out.push_str(&found);
        rest = &rest[length..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The reference at the beginning of a text, without its `&`, and its length including it.
fn reference(text: &str) -> Option<(&str, usize)> {
    let body = &text[1..];
    let digits = |from: usize, is: fn(&u8) -> bool| {
        let digits = body.as_bytes()[from..].iter().take_while(|b| is(b)).count();
        (digits > 0).then_some(from + digits)
    };
    let mut end = if body.starts_with("#x") || body.starts_with("#X") {
        digits(2, u8::is_ascii_hexdigit)?
    } else if body.starts_with('#') {
        digits(1, u8::is_ascii_digit)?
    } else {
        let name = |c: &char| !"\t\n\u{c} <&#;".contains(*c);
        let name: usize = body
            .chars()
            .take_while(name)
            .take(LONGEST_NAME)
            .map(char::len_utf8)
            .sum();
        (name > 0).then_some(name)?
    };
    if body[end..].starts_with(';') {
        end += 1;
    }
    Some((&body[..end], 1 + end))
}

fn named(name: &str) -> Option<&'static str> {
    let found = ENTITIES.get(format!("&{name}").as_bytes())?;
    std::str::from_utf8(found).ok()
}

/// The character of a numeric reference: `65`, `x41` or `65;`.
fn numbered(number: &str) -> Option<String> {
    let digits = number.trim_end_matches(';');
    let number = match digits.strip_prefix(['x', 'X']) {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
        None => digits.parse(),
    };
    // a number that is too large for u32 is too large for a character
    let number = number.unwrap_or(u32::MAX);
    let shown = match number {
        0 => Some('\u{fffd}'),
        0x80..=0x9f => WINDOWS.chars().nth(number as usize - 0x80),
        0x01..=0x08 | 0x0b | 0x0e..=0x1f | 0x7f | 0xfdd0..=0xfdef => None,
        _ if number & 0xfffe == 0xfffe && number <= 0x0010_ffff => None,
        _ => Some(char::from_u32(number).unwrap_or('\u{fffd}')),
    };
    Some(shown.map(String::from).unwrap_or_default())
}
