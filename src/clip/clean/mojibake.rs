//! Text in UTF-8 that was read in another encoding, such as `cafÃ©`: found and read again.
//!
//! As ftfy does it: a text is suspicious where characters stand side by side that hardly ever do but in such a text, and then is read
//! again if its bytes are UTF-8. What is suspicious follows ftfy 6's `badness`.

use super::encodings::{ENCODINGS, Encoding, LOST};

/// More rounds than any text needs until it stays as it is.
const MOST_ROUNDS: usize = 8;

/// The text, read again as often as it is suspicious and can be.
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

/// A control character of Latin-1 is one of Windows-1252's characters, as in browsers; another character stays.
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

/// The text's bytes in that encoding, as UTF-8.
fn read_again(text: &str, encoding: &Encoding) -> Option<String> {
    let mut bytes = encoding.encode(text)?;
    // an en dash with a space behind it would look like one of these
    if encoding.name != "macroman" {
        bytes = with_hard_spaces(&bytes);
    }
    if encoding.lossy {
        bytes = without_lost(&bytes);
    }
    String::from_utf8(bytes).ok()
}

/// How many bytes follow a first byte of UTF-8.
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

/// Spaces that were hard spaces, the byte A0, where that makes UTF-8 of what stands around them.
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

/// U+FFFD for each character of UTF-8 of which a byte was lost.
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
        // two bytes of which one is a question mark are likely to be just that
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

/// Which part of a character of UTF-8 a character can be that was read in one of the Latin, Greek or Cyrillic encodings.
fn parts(c: char) -> impl Fn(fn(u8) -> bool) -> bool {
    let bytes: Vec<u8> = ENCODINGS[..8]
        .iter()
        .filter_map(|encoding| encoding.byte(c))
        .collect();
    move |is| bytes.iter().any(|byte| is(*byte))
}

/// The text with what looks like UTF-8 in it read again, each part for itself.
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
        // shorter than the text, so that this comes to an end
        if part.len() < text.len() && is_suspicious(&part) {
            out.push_str(&fix(&part));
        } else {
            out.push_str(&part);
        }
        at = end;
    }
    Some(out)
}

/// What a character means beside another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// A control character of Latin-1.
    Control,
    /// Signs that nobody types.
    Rare,
    /// Signs of the law.
    Law,
    Currency,
    /// Signs that begin something, such as a quotation.
    Opening,
    /// Signs that end something.
    Closing,
    Numeric,
    /// Accented capitals that are first bytes of UTF-8 in some encoding.
    Capital,
    /// Accented small letters likewise.
    Small,
    /// Capitals of Greek and Cyrillic.
    OtherCapital,
    /// Small letters of Greek and Cyrillic.
    OtherSmall,
    /// Signs that tables are drawn with.
    Box,
    /// Anything else.
    Other,
}

const CAPITALS: &str = "ØÜÝĂĀĄĆČĎĐĘĚĒĖĞĢİĪĶĹĽŁĻŃŇŅŒŘŚŞŠŢŤŮŰŸŹŻŽҐ";
const SMALL: &str = "ßăąāćčďđęěēėğģįīķĺľłļœŕśşšťüźżžґﬁﬂ";
/// What stands behind a first byte of two in many texts.
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
        '│'
        | '┌'
        | '┐'
        | '┘'
        | '├'
        | '┤'
        | '┬'
        | '┼'
        | '═'..='╬'
        | '▀'
        | '▄'
        | '█'
        | '▌'
        | '▐'
        | '░'
        | '▒'
        | '▓' => Box,
        _ => Other,
    }
}

/// Whether characters stand side by side that hardly ever do but in UTF-8 that was read in another encoding.
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

/// By what kind of characters they are.
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
        // letters that faces are made of
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

/// By which characters they are: what common letters and signs come to in common encodings.
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
