//! Mojibake: UTF-8 that was decoded with another encoding, such as `cafÃ©`, is recognised and decoded again.
//!
//! As in ftfy: a text is suspicious if it has neighbouring characters that hardly ever occur together in other texts. A suspicious text is
//! decoded again if its bytes are valid UTF-8. The rules follow ftfy 6's `badness`.

use super::encodings::{ENCODINGS, Encoding, LOST};

/// The limit for repetitions; texts stop changing long before.
const MOST_ROUNDS: usize = 8;

/// Decodes a text again as long as it is suspicious and this is possible.
pub(super) fn fix(text: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..MOST_ROUNDS {
        match step(&text) {
            Some(fixed) if fixed != text => text = fixed,
            _ => break,
        }
    }
    text
}

/// Replaces a control character of Latin-1 by the character of Windows-1252, as browsers do.
pub(super) fn windows_control(c: char) -> char {
    match c {
        '\u{80}'..='\u{9f}' => ENCODINGS[1].char(c as u8),
        _ => c,
    }
}

fn step(text: &str) -> Option<String> {
    if text.is_ascii() || !is_suspicious(text) {
        return None;
    }
    ENCODINGS
        .iter()
        .find_map(|encoding| read_again(text, encoding))
        .or_else(|| read_parts_again(text).filter(|fixed| fixed != text))
        .or_else(|| Some(text.chars().map(windows_control).collect()))
}

/// Encodes the text in that encoding and decodes the bytes as UTF-8.
fn read_again(text: &str, encoding: &Encoding) -> Option<String> {
    let mut bytes = encoding.encode(text)?;
    // in Mac Roman, an en dash and a space would look like a damaged hard space
    if encoding.name != "macroman" {
        bytes = with_hard_spaces(&bytes);
    }
    if encoding.lossy {
        bytes = without_lost(&bytes);
    }
    String::from_utf8(bytes).ok()
}

/// The number of continuation bytes after a first byte of UTF-8.
fn following(first: u8) -> usize {
    match first {
        0xc2..=0xdf => 1,
        0xe0..=0xef => 2,
        0xf0..=0xf4 => 3,
        _ => 0,
    }
}

fn follows(byte: u8) -> bool {
    (0x80..=0xbf).contains(&byte)
}

/// Restores hard spaces (the byte A0) that were replaced by spaces, where this results in valid UTF-8.
fn with_hard_spaces(bytes: &[u8]) -> Vec<u8> {
    // 85 is a line break and A0 what is looked for
    let inside = |byte: u8| follows(byte) && byte != 0x85 && byte != 0xa0;
    let altered = |rest: &[u8]| match *rest {
        [0xc2 | 0xc3 | 0xc5 | 0xce | 0xd0 | 0xd9, b' ', ..] => Some(2),
        [0xe2 | 0xe3, b' ', last, ..] if inside(last) => Some(3),
        [0xe0..=0xe3, middle, b' ', ..] if inside(middle) => Some(3),
        [0xf0, a, b, c, ..] => {
            let three = [a, b, c];
            let spaces = three.iter().filter(|byte| **byte == b' ').count();
            let fit = three.iter().all(|byte| *byte == b' ' || follows(*byte));
            (spaces == 1 && fit).then_some(4)
        }
        _ => None,
    };
    if !(0..bytes.len()).any(|at| altered(&bytes[at..]).is_some()) {
        return bytes.to_vec();
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, behind @ ..] = rest {
        // `Ã la mode`: the word is `à`, and one of two spaces is missing; `Ã s` and `Ã quela` are words of Portuguese
        let word = [&b" "[..], b"quele", b"quela", b"quilo", b"s "];
        if rest.starts_with(b"\xc3 ") && !word.iter().any(|word| rest[2..].starts_with(word)) {
            out.extend(b"\xc3\xa0 ");
            rest = &rest[2..];
        } else if let Some(length) = altered(rest) {
            let hard = |byte: &u8| if *byte == b' ' { 0xa0 } else { *byte };
            out.extend(rest[..length].iter().map(hard));
            rest = &rest[length..];
        } else {
            out.push(*first);
            rest = behind;
        }
    }
    out
}

/// Replaces each character of UTF-8 that lost a byte by U+FFFD.
fn without_lost(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, behind @ ..] = rest {
        let tail = behind.get(..following(*first)).unwrap_or_default();
        let count = |wanted: u8| tail.iter().filter(|byte| **byte == wanted).count();
        let (lost, asked) = (count(LOST), count(b'?'));
        let fit = tail
            .iter()
            .all(|byte| follows(*byte) || matches!(*byte, LOST | b'?'));
        // two bytes with a question mark are probably not a damaged character
        let likely = tail.len() > 1 || lost == 1 || matches!(first, 0xc2 | 0xc3);
        if *first == LOST || (fit && likely && asked <= 1 && lost + asked > 0) {
            out.extend("\u{fffd}".bytes());
            rest = &behind[tail.len()..];
        } else {
            out.push(*first);
            rest = behind;
        }
    }
    out
}

/// Which byte of a UTF-8 character a character can stand for in the Latin, Greek and Cyrillic encodings.
fn parts(c: char) -> impl Fn(fn(u8) -> bool) -> bool {
    let bytes: Vec<u8> = ENCODINGS[..8]
        .iter()
        .filter_map(|encoding| encoding.byte(c))
        .collect();
    move |is| bytes.iter().any(|byte| is(*byte))
}

/// Decodes each part of the text that looks like UTF-8 on its own.
fn read_parts_again(text: &str) -> Option<String> {
    let chars: Vec<char> = text.chars().collect();
    let tail = |at: usize, length: usize| {
        chars
            .get(at..at + length)
            .is_some_and(|tail| tail.iter().all(|c| *c == ' ' || parts(*c)(follows)))
    };
    let piece = |at: usize| {
        let first = parts(chars[at]);
        if first(|byte| following(byte) == 1) && tail(at + 1, 1) {
            2
        } else if first(|byte| following(byte) == 2) && tail(at + 1, 2) {
            3
        } else if first(|byte| matches!(byte, 0xf0 | 0xf3)) && tail(at + 1, 3) {
            4
        } else {
            0
        }
    };
    let common =
        |c: char| matches!(c, ' ' | '\u{2013}'..='\u{2015}' | '\u{2018}'..='\u{201e}' | '•' | '…');
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let inside = at > 0 && !common(chars[at - 1]) && parts(chars[at - 1])(follows);
        let mut end = at;
        while !inside && end < chars.len() {
            match piece(end) {
                0 => break,
                length => end += length,
            }
        }
        if end == at {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        let part: String = chars[at..end].iter().collect();
        // shorter than the text, so the recursion ends
        if part.len() < text.len() && is_suspicious(&part) {
            out.push_str(&fix(&part));
        } else {
            out.push_str(&part);
        }
        at = end;
    }
    Some(out)
}

/// Classes of characters, by ftfy's criteria for neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// A control character of Latin-1.
    Control,
    /// Symbols that are rarely typed.
    Rare,
    /// Legal symbols.
    Law,
    Currency,
    /// Opening punctuation, such as quotes.
    Opening,
    /// Closing punctuation.
    Closing,
    Numeric,
    /// Accented upper-case letters that are first bytes of UTF-8 in some encoding.
    Capital,
    /// Accented lower-case letters that are.
    Small,
    /// Upper-case Greek and Cyrillic letters.
    OtherCapital,
    /// Lower-case Greek and Cyrillic letters.
    OtherSmall,
    /// Box-drawing characters.
    Box,
    /// Anything else.
    Other,
}

const CAPITALS: &str = "ØÜÝĂĀĄĆČĎĐĘĚĒĖĞĢİĪĶĹĽŁĻŃŇŅŒŘŚŞŠŢŤŮŰŸŹŻŽҐ";
const SMALL: &str = "ßăąāćčďđęěēėğģįīķĺľłļœŕśşšťüźżžґﬁﬂ";
/// Characters that often follow the first byte of a two-byte character.
const TELLING: &str = "€œŠš¢£Ÿž\u{a0}\u{ad}®©°·»–—´";

fn class(c: char) -> Class {
    use Class::{
        Box, Capital, Closing, Control, Currency, Law, Numeric, Opening, Other, OtherCapital,
        OtherSmall, Rare, Small,
    };
    match c {
        '\u{80}'..='\u{9f}' => Control,
        '¦' | '¤' | '¨' | '¬' | '¯' | '¸' | 'ƒ' | 'ˆ' | 'ˇ' | '˘' | '˛' | '˜' | '†' | '‡' | '‰'
        | '⌐' | '◊' | '\u{fffd}' | 'ª' | 'º' => Rare,
        '¶' | '§' => Law,
        '¢' | '£' | '¥' | '₧' | '€' => Currency,
        '¡' | '«' | '¿' | '©' | '΄' | '΅' | '‘' | '‚' | '“' | '„' | '•' | '‹' | '\u{f8ff}' => {
            Opening
        }
        '®' | '»' | '˝' | '”' | '›' | '™' => Closing,
        '²' | '³' | '¹' | '±' | '¼' | '½' | '¾' | '×' | 'µ' | '÷' | '⁄' | '∂' | '∆' | '∏' | '∑'
        | '√' | '∞' | '∩' | '∫' | '≈' | '≠' | '≡' | '≤' | '≥' | '№' => Numeric,
        'À'..='Ñ' => Capital,
        'à'..='ñ' => Small,
        _ if CAPITALS.contains(c) => Capital,
        _ if SMALL.contains(c) => Small,
        'Þ' | 'Α'..='Ω' | 'Ά' | 'Έ' | 'Ή' | 'Ί' | 'Ό' | 'Ύ' | 'Ώ' | 'Ϊ' | 'Ϋ' | 'Ё'..='Я' => {
            OtherCapital
        }
        'α'..='ω' | 'ά' | 'έ' | 'ή' | 'ί' | 'ΰ' | 'а'..='џ' => OtherSmall,
        '═'..='╬' => Box,
        _ if "│┌┐┘├┤┬┼▀▄█▌▐░▒▓".contains(c) => Box,
        _ => Other,
    }
}

/// Whether a text has neighbouring characters that hardly ever occur together except in mojibake.
fn is_suspicious(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    let classes: Vec<Class> = chars.iter().map(|c| class(*c)).collect();
    (0..chars.len()).any(|at| {
        let before = at.checked_sub(1).map(|at| chars[at]);
        classes[at] == Class::Control
            || strange_classes(before, &chars[at..], &classes[at..])
            || strange_words(before, &chars[at..], &classes[at..])
    })
}

/// Judges two neighbours by their classes.
fn strange_classes(before: Option<char>, chars: &[char], classes: &[Class]) -> bool {
    use Class::{
        Box, Capital, Closing, Currency, Law, Numeric, Opening, OtherCapital, OtherSmall, Rare,
        Small,
    };
    let [first, second, rest @ ..] = classes else {
        return false;
    };
    let third = rest.first().copied();
    let letter = |c: char| c.is_alphanumeric() || c == '_';
    let pair = match (first, second) {
        (Small | Capital | Box | Opening | Closing | Currency | Numeric | Law | Rare, Rare)
        | (Rare, Small | Capital | Box | Opening | Closing | Currency | Numeric | Law)
        | (Small | OtherSmall | Box | Closing | Currency | Numeric, Capital)
        | (Box | Closing | Currency | Numeric, Small)
        | (Small | Box | Closing, Currency)
        | (Capital | Box, Numeric | Law)
        | (Currency | Numeric | Box, Opening)
        | (Small | Capital | Currency | Numeric | Opening | Closing | Law, Box)
        | (Box, Closing) => true,
        (Capital, Currency) => before.is_some_and(|c| c.is_whitespace() || c.is_ascii_lowercase()),
        (Capital, Opening) => before.is_some_and(|c| c.is_ascii_lowercase()),
        // letters of emoticons
        (Box, _) => "ÒÓÔÕÖÙÚÛÜòóôõöøùúûüŐŌŪŲ°".contains(chars[1]),
        (OtherSmall | OtherCapital, Rare) => before.is_some_and(|c| c.is_ascii_alphabetic()),
        _ => false,
    };
    pair || match (first, second, third) {
        (Small | Capital | Box | Currency | Closing, Opening, Some(Numeric))
        | (Small | Capital | Currency | Numeric | Box | Law, Closing, Some(Opening)) => true,
        (Small | Capital, Opening | Closing, Some(_)) => letter(chars[2]),
        _ => false,
    }
}

/// Whether the characters next to `before` look like mojibake: combinations of letters and symbols that appear when UTF-8 is decoded in a
/// common single-byte encoding, and hardly ever in real text.
fn strange_words(before: Option<char>, chars: &[char], classes: &[Class]) -> bool {
    use Class::{Closing, Control, Currency, Numeric, Opening, Rare};
    let sign = |at: usize| {
        let class = classes.get(at);
        matches!(class, Some(Control | Rare | Opening | Closing | Currency))
            || chars.get(at) == Some(&'°')
    };
    let in_arabic = |at: usize| {
        let c = chars.get(at).copied().unwrap_or(' ');
        matches!(classes.get(at), Some(Currency | Rare | Numeric | Opening))
            || "\u{a0}\u{ad}·´–—―…’ŸŠ®°µ»".contains(c)
    };
    match *chars {
        // Windows-1252
        ['Œ' | 'œ', next, ..] if !next.is_ascii_alphabetic() => true,
        [_, '°', ..] if classes[0] == Class::Capital => true,
        ['Â' | 'Ã' | 'Î' | 'Ð', next, ..]
            if TELLING.contains(next) || matches!(classes[1], Opening | Closing) =>
        {
            true
        }
        ['×', '²' | '³', ..]
        | ['à', '²' | 'µ' | '¹' | '¼' | '½' | '¾', ..]
        | ['Ã', '\u{a0}' | '¡', ..] => true,
        ['Ø' | 'Ù', _, 'Ø' | 'Ù', ..] if in_arabic(1) && in_arabic(3) => true,
        ['Ã' | 'Â', ' ', ..] if before.is_none_or(|c| c.is_ascii_lowercase()) => true,
        ['Â', ' ', ..] => before.is_some_and(|c| ".,?!".contains(c) || class(c) == Closing),
        [c, ' ', 'Ã' | 'Â', ' ', ..] if c.is_ascii_lowercase() => true,
        // Mac Roman
        [
            '√',
            '±' | '∂' | '†' | '≠' | '®' | '™' | '´' | '≤' | '≥' | '¥' | 'µ' | 'ø',
            ..,
        ]
        | ['≈', '°' | '¢', ..]
        | ['‚', 'â' | 'ó', 'à' | 'ä' | '°' | 'ê', ..] => true,
        ['‚', 'Ä', next, ..] if "ìîïòôúùû†°¢π".contains(next) => true,
        // Windows-1251, 1253 and 1257
        ['в', 'Ђ', ..] | ['ā', '€', ..] => true,
        ['Г', 'ў', 'В', 'Ђ', 'В', _, next, ..] if next == ' ' || next.is_ascii_alphabetic() => {
            true
        }
        ['В' | 'Г' | 'Р' | 'С', next, 'В' | 'Г' | 'Р' | 'С', ..] => sign(1) || next == 'µ',
        ['β', '€', next, ..] => "™\u{a0}Ά\u{ad}®°".contains(next),
        ['Β' | 'Γ' | 'Ξ' | 'Ο', _, 'Β' | 'Γ' | 'Ξ' | 'Ο', ..] => sign(1),
        _ => false,
    }
}
