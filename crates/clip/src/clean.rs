//! open_clip's cleaning of texts before tokenization.
//!
//! open_clip passes every text through ftfy's `fix_text` (Speer 2019, <https://ftfy.readthedocs.io>) and twice through Python's
//! `html.unescape`, then replaces each run of white space by one space. transformers does none of this.

mod encodings;
mod entities;
mod mojibake;

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// The limit for repetitions; texts stop changing long before.
const MOST_ROUNDS: usize = 32;

/// open_clip's `_clean_lower`, the default of its `SimpleTokenizer`: [`whitespace`] in lower case, with the final form of the Greek sigma.
pub(super) fn lower(text: &str) -> String {
    whitespace(text).to_lowercase()
}

/// open_clip's `_clean_whitespace`, the default of its `HFTokenizer`.
pub(super) fn whitespace(text: &str) -> String {
    let fixed = fix(text);
    let once = entities::unescape(&fixed);
    let twice = entities::unescape(&once);
    let words = twice.split(is_space).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// open_clip's `_clean_canonicalize`, from big_vision, which SigLIP was trained with: [`lower`] without ASCII punctuation.
pub(super) fn canonical(text: &str) -> String {
    let text = whitespace(text).replace('_', " ");
    let words: String = (text.chars())
        .filter(|c| !c.is_ascii_punctuation())
        .collect();
    let words = words.to_lowercase();
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// transformers' `SiglipTokenizer.canonicalize_text`: lower case without ASCII punctuation. Unlike [`canonical`], it does not repair the text, and
/// an underscore separates nothing.
pub(super) fn siglip(text: &str) -> String {
    let words: String = (text.to_lowercase().chars())
        .filter(|c| !c.is_ascii_punctuation())
        .collect();
    let words = words.split(is_space).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// Whether Python's `str.split` treats a character as white space.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// ftfy's `fix_text`, line by line.
fn fix(text: &str) -> String {
    let mut fixed = String::with_capacity(text.len());
    // text after a `<` may be HTML, where entities are meant
    let mut unescape = true;
    for line in text.split_inclusive('\n') {
        unescape &= !line.contains('<');
        fixed.push_str(&fix_line(line, unescape));
    }
    fixed
}

fn fix_line(line: &str, unescape: bool) -> String {
    let mut text = line.to_owned();
    for _ in 0..MOST_ROUNDS {
        let before = text.clone();
        if unescape {
            text = entities::unescape_whole(&text);
        }
        text = mojibake::fix(&text);
        text = text.chars().map(mojibake::windows_control).collect();
        text = spelled_out(&text);
        text = text.replace("\r\n", "\n");
        text = without_escapes(&text)
            .chars()
            .filter_map(plain)
            .nfc()
            .collect();
        if text == before {
            break;
        }
    }
    text
}

/// Replaces Latin ligatures by letters, and full-width and half-width forms by the usual ones.
fn spelled_out(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // NFKC would replace the long s, too
            '\u{fb05}' => out.push_str("\u{017f}t"),
            '\u{0132}'
            | '\u{0133}'
            | '\u{0149}'
            | '\u{01c4}'..='\u{01cc}'
            | '\u{01f1}'..='\u{01f3}'
            | '\u{fb00}'..='\u{fb06}'
            | '\u{ff01}'..='\u{ffef}' => out.extend([c].into_iter().nfkc()),
            _ => out.push(c),
        }
    }
    out
}

/// Replaces curly quotes by straight ones and all line breaks by one kind; `None` for invisible control characters.
fn plain(c: char) -> Option<char> {
    match c {
        '\u{02bc}' | '\u{2018}'..='\u{201b}' => Some('\''),
        '\u{201c}'..='\u{201f}' => Some('"'),
        '\u{3000}' => Some(' '),
        '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => Some('\n'),
        '\0'..='\u{08}'
        | '\u{0b}'
        | '\u{0e}'..='\u{1f}'
        | '\u{7f}'
        | '\u{206a}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffc}' => None,
        c => Some(c),
    }
}

/// Removes the escape sequences by which terminals change colour, `ESC [ 1 ; 31 m`.
fn without_escapes(text: &str) -> Cow<'_, str> {
    const BEGIN: &str = "\u{1b}[";
    if !text.contains(BEGIN) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        let behind = &rest[at + BEGIN.len()..];
        let end = behind.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        match end.strip_prefix(|c: char| c.is_ascii_alphabetic()) {
            Some(after) => {
                out.push_str(&rest[..at]);
                rest = after;
            }
            None => {
                out.push_str(&rest[..at + BEGIN.len()]);
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests;
