use std::path::Path;

use super::*;

/// Texts, and what open_clip cleans them to.
fn rows() -> Vec<(String, String, Vec<u32>, Vec<u32>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/open-clip-text");
    let json = std::fs::read(folder.join("texts.json")).expect("the fixture");
    serde_json::from_slice(&json).expect("rows")
}

#[test]
fn texts_are_cleaned_as_open_clip_cleans_them() {
    let mut wrong = vec![];
    let rows = rows();
    for (text, expected, ..) in &rows {
        let found = lower(text);
        if found != *expected {
            wrong.push(format!(
                "{text:?}\n  found    {found:?}\n  expected {expected:?}"
            ));
        }
    }
    assert!(rows.len() > 300);
    assert!(
        wrong.is_empty(),
        "{} of {}\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
}

#[test]
fn cleaning_keeps_capitals_for_other_tokenizers() {
    assert_eq!(
        whitespace(" It\u{2019}s  a\nCAT &amp;amp; "),
        "It's a CAT &"
    );
    assert_eq!(lower("ΣΑΣ"), "σας");
}

proptest::proptest! {
    #[test]
    fn any_text_is_cleaned(text in "\\PC{0,40}", more in proptest::collection::vec(proptest::char::any(), 0..40)) {
        let more: String = more.into_iter().collect();
        for text in [&text, &more, &format!("{text}&{more};")] {
            let clean = lower(text);
            proptest::prop_assert!(!clean.contains("  ") && clean.trim() == clean);
        }
    }

    #[test]
    fn texts_read_in_the_wrong_encoding_are_cleaned(bytes in proptest::collection::vec(0x20u8.., 0..40)) {
        for encoding in encodings::ENCODINGS.iter() {
            let text: String = bytes.iter().map(|byte| encoding.char(*byte)).collect();
            lower(&text);
        }
    }
}

#[test]
fn a_canonical_text_has_no_punctuation() {
    assert_eq!(
        canonical(" A_red, Boat!  (it's \"old\")"),
        "a red boat its old"
    );
    assert_eq!(canonical("ÉTÉ…"), "été…");
    assert_eq!(canonical("--"), "");
}
