use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::{TextFrame, TokenRules};
use crate::options::LongText;

const EMBEDDED: &[u8] = include_bytes!("../embedded/tokenizer.json");

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

fn embedded() -> Tokenizer {
    Tokenizer::from_json(EMBEDDED, 32).expect("the embedded tokenizer")
}

fn of_folder(folder: &str, layout: Layout) -> Tokenizer {
    let files = TokenizerFiles::in_folder(&root(folder)).expect("a tokenizer");
    Tokenizer::read(&files, 77, layout).expect(folder)
}

/// A tokenizer of another kind, between `[` and `]`.
fn made(model: &serde_json::Value) -> Tokenizer {
    made_in(model, Layout::HuggingFace)
}

fn made_in(model: &serde_json::Value, layout: Layout) -> Tokenizer {
    let special = |id: u32, content: &str| json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true });
    let piece = |id: &str| json!({ "SpecialToken": { "id": id, "type_id": 0 } });
    let token = |id: &str, ids: u32| json!({ "id": id, "ids": [ids], "tokens": [id] });
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "decoder": null,
        "added_tokens": [special(100, "["), special(101, "]")],
        "normalizer": { "type": "Lowercase" },
        "pre_tokenizer": { "type": "Whitespace" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [piece("["), { "Sequence": { "id": "A", "type_id": 0 } }, piece("]")],
            "pair": [],
            "special_tokens": { "[": token("[", 100), "]": token("]", 101) },
        },
        "model": model,
    });
    let inner = Inner::from_bytes(json.to_string()).expect("a tokenizer");
    Tokenizer::new(inner, 8, layout).expect("a tokenizer")
}

/// Tokenizers of every kind that the library reads, with and without a token for the unknown.
fn others() -> Vec<Tokenizer> {
    let words = json!({ "a": 0, "cat": 1, "?": 2 });
    let models = [
        json!({ "type": "WordLevel", "vocab": words, "unk_token": "?" }),
        json!({ "type": "WordLevel", "vocab": words, "unk_token": "none" }),
        json!({ "type": "WordPiece", "vocab": { "a": 0, "cat": 1, "##s": 3, "?": 2 }, "unk_token": "?", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100 }),
        json!({ "type": "WordPiece", "vocab": words, "unk_token": "none", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100 }),
        json!({ "type": "Unigram", "vocab": [["<unk>", 0.0], ["a", -1.0], ["cat", -2.0]], "unk_id": 0 }),
        json!({ "type": "Unigram", "vocab": [["a", -1.0], ["cat", -2.0]], "unk_id": null }),
        json!({ "type": "BPE", "vocab": { "a": 0, "c": 1, "t": 3, "?": 2 }, "merges": [], "unk_token": "?" }),
        json!({ "type": "BPE", "vocab": { "a": 0, "c": 1, "t": 3, "?": 2 }, "merges": [], "unk_token": "none" }),
        json!({ "type": "BPE", "vocab": { "a": 0, "c": 1, "t": 3 }, "merges": [], "unk_token": null }),
        json!({ "type": "BPE", "vocab": { "a": 0, "c": 1, "t": 3, "a</w>": 4, "t</w>": 5, "]": 101 }, "merges": [], "unk_token": "]", "end_of_word_suffix": "</w>" }),
    ];
    let layouts = [Layout::HuggingFace, Layout::OpenClip];
    let made = models
        .iter()
        .flat_map(|model| layouts.map(|layout| made_in(model, layout)));
    made.collect()
}

static ALL: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
    let mut all = others();
    all.push(embedded());
    for layout in [Layout::HuggingFace, Layout::OpenClip] {
        for folder in [
            "tests/fixtures/clip-hf-quick",
            "tests/fixtures/clip-open-vit",
            "tests/fixtures/open-clip-text/model",
            "generators/tests/fixtures/stable/sd1/tokenizer",
        ] {
            all.push(of_folder(folder, layout));
        }
    }
    for name in ["xlm-roberta", "roberta", "nllb", "bert"] {
        all.push(fabricated(name, json!({}), |_| {}));
    }
    all.push(fabricated("siglip2", json!({}), |config| {
        config.layout = Layout::HuggingFace;
        config.text.tokens = TokenRules::siglip(TextCleaning::Siglip2);
    }));
    all
});

/// What holds for any text.
fn holds(tokenizer: &Tokenizer, text: &str) {
    let frame = tokenizer.encode("").expect("no text").ids;
    let tokens = tokenizer.encode(text).expect("any text");
    let ids = &tokens.ids;
    assert!(
        ids.len() >= frame.len() && ids.len() <= tokenizer.context,
        "{text:?}: {ids:?}"
    );
    // SigLIP's texts have an end and no beginning
    let (begin, end) = frame.split_at(frame.len() - 1);
    assert!(ids.starts_with(begin) && ids.ends_with(end), "{text:?}");
    if tokens.nothing {
        assert_eq!(*ids, frame, "{text:?}");
    }
    let named = tokens.unread.warnings("it", "a text").join(" ");
    assert!(
        !tokens.nothing || !named.is_empty() || clean::lower(text).is_empty(),
        "{text:?}"
    );
}

/// A text, what open_clip cleans it to, its tokens, and those of transformers.
type Row = (String, String, Vec<u32>, Vec<u32>);

fn rows() -> Vec<Row> {
    let path = root("tests/fixtures/open-clip-text/texts.json");
    let json = std::fs::read(path).expect("the fixture");
    serde_json::from_slice(&json).expect("rows")
}

/// The tokens between begin and end, cut as the libraries cut them.
fn framed(ids: &[u32]) -> Vec<u32> {
    let [start, end] = [533, 534];
    let mut framed = [&[start], ids].concat();
    framed.truncate(76);
    framed.push(end);
    framed
}

#[test]
fn texts_have_the_tokens_of_open_clip() {
    let tokenizer = of_folder("tests/fixtures/open-clip-text/model", Layout::OpenClip);
    for (text, _, expected, _) in &rows() {
        let tokens = tokenizer.encode(text).expect(text);
        assert_eq!(tokens.ids, framed(expected), "{text:?}");
    }
}

#[test]
fn texts_have_the_tokens_of_transformers() {
    let tokenizer = of_folder("tests/fixtures/open-clip-text/model", Layout::HuggingFace);
    for (text, _, _, expected) in &rows() {
        let tokens = tokenizer.encode(text).expect(text);
        assert_eq!(tokens.ids, framed(expected), "{text:?}");
    }
}

#[test]
fn special_tokens_that_are_typed_mean_what_they_mean_in_each_library() {
    let folder = "tests/fixtures/open-clip-text/model";
    let ids = |layout, text: &str| of_folder(folder, layout).encode(text).expect(text).ids;
    // transformers' names are special in its layout, and words in open_clip's; open_clip's names are the other way round
    let theirs = "a <|endoftext|> it";
    let typed = "a <end_of_text> it";
    let count = |ids: Vec<u32>| ids.iter().filter(|id| **id == 534).count();
    assert_eq!(count(ids(Layout::HuggingFace, theirs)), 2);
    assert_eq!(count(ids(Layout::OpenClip, theirs)), 1);
    assert_eq!(count(ids(Layout::HuggingFace, typed)), 1);
    assert_eq!(count(ids(Layout::OpenClip, typed)), 2);
    assert_eq!(count(ids(Layout::OpenClip, &typed.to_uppercase())), 2);
}

#[test]
fn the_embedded_vocabulary_leaves_out_the_signs_that_it_lacks() {
    let tokenizer = embedded();
    let ids = |text: &str| tokenizer.encode(text).expect(text).ids;
    for (text, same) in [
        ("a cat (cute)!", "a cat cute"),
        ("rock & roll", "rock roll"),
        ("50% grey", "50 grey"),
        ("a \"sign\" that says no", "a sign that says no"),
        ("black/white", "black white"),
        ("snake_case fox", "snake case fox"),
        ("a café at night", "a cafe at night"),
        ("CRÈME brûlée", "creme brulee"),
        ("cafe\u{301}", "cafe"),
        ("a “dream”…", "a dream"),
        ("a cat 🐈", "a cat cat"),
        ("Straße", "strasse"),
        ("R&B", "r b"),
        ("日本の山", "ri ben noshan"),
    ] {
        assert_eq!(ids(text), ids(same), "{text}");
        assert_ne!(
            tokenizer.encode(text).expect(text).unread,
            Unread::default(),
            "{text}"
        );
    }
    // what it has it reads as it did
    for text in [
        "it's",
        "it’s",
        "piñata",
        "Spaceships!",
        "a dog, a cat",
        "a - b",
    ] {
        assert_eq!(
            tokenizer.encode(text).expect(text).unread,
            Unread::default(),
            "{text}"
        );
    }
    assert_eq!(ids("Spaceships!"), [5118, 390, 311, 68, 3786, 285, 5119]);
}

#[test]
fn every_character_that_ends_a_word_is_read() {
    let tokenizer = embedded();
    for c in (0..0x3000).filter_map(char::from_u32) {
        for text in [format!("a cat{c}"), format!("{c}"), format!("{c}x {c}{c}")] {
            holds(&tokenizer, &text);
        }
    }
}

#[test]
fn losses_are_named() {
    let unread = embedded()
        .encode("a café (日本) (x)")
        .expect("a text")
        .unread;
    let warnings = unread.of_model("embedded", "a prompt");
    assert_eq!(warnings.len(), 2);
    assert!(
        warnings[0].contains("\"café\" as \"cafe\""),
        "{}",
        warnings[0]
    );
    assert!(
        warnings[1].contains("leaves out \"(\", \")\" in a prompt"),
        "{}",
        warnings[1]
    );
    let nothing = embedded().encode("(((").expect("a text");
    assert!(nothing.nothing && nothing.ids == [5118, 5119]);
    let blank = embedded().encode("  ").expect("a text");
    assert!(!blank.nothing);
}

#[test]
fn a_vocabulary_of_all_bytes_reads_everything() {
    // as CLIP's: the merge of two signs is never at the end of a word, and both of them are
    let vocab =
        json!({ "a": 0, "a</w>": 1, "+": 2, "+</w>": 3, "*": 4, "*</w>": 5, "+*": 6, "]": 101 });
    let tokenizer = made(&json!({
        "type": "BPE", "vocab": vocab, "merges": [["+", "*"]], "unk_token": "]", "end_of_word_suffix": "</w>"
    }));
    let tokens = tokenizer.encode("+*+ a").expect("a text");
    assert_eq!(
        (tokens.ids, tokens.unread),
        (vec![100, 6, 3, 1, 101], Unread::default())
    );
}

#[test]
fn unknown_tokens_are_kept_and_reported() {
    let words = json!({ "a": 0, "cat": 1, "?": 2 });
    let kept = made(&json!({ "type": "WordLevel", "vocab": words, "unk_token": "?" }));
    let tokens = kept.encode("a zebra").expect("a text");
    assert_eq!(tokens.ids, [100, 0, 2, 101]);
    assert_eq!(tokens.unread.unknown, ["zebra"]);
    let none = made(&json!({ "type": "WordLevel", "vocab": words, "unk_token": "none" }));
    let tokens = none.encode("a zebra").expect("a text");
    assert_eq!(tokens.ids, [100, 0, 101]);
    assert_eq!(tokens.unread.dropped, ["zebra"]);
}

#[test]
fn thousands_of_losses_are_listed_at_once() {
    let pieces = || (0..200_000).map(|number| (number % 100_000).to_string());
    let listed = super::listed(pieces()).unwrap();
    assert_eq!(listed, "0, 1, 2, 3, 4, 5, 6, 7 and 99992 more");
    assert_eq!(
        super::listed(["a", "a"].map(String::from).into_iter()).unwrap(),
        "a"
    );
}

#[test]
fn a_long_text_is_cut_and_its_end_reported() {
    for layout in [Layout::HuggingFace, Layout::OpenClip] {
        let tokenizer = of_folder("tests/fixtures/open-clip-text/model", layout);
        let tokens = tokenizer
            .encode(&"it dog &amp; ".repeat(60))
            .expect("a text");
        assert_eq!(tokens.ids.len(), 77);
        let lost = tokens.unread.lost.expect("an end");
        assert!(
            lost.starts_with("it") || lost.starts_with("dog") || lost.starts_with('&'),
            "{lost}"
        );
    }
}

#[test]
fn a_cut_text_keeps_the_tokens_that_end_every_text() {
    let words = json!({ "a": 0, "cat": 1, "?": 2 });
    let model = json!({ "type": "WordLevel", "vocab": words, "unk_token": "?" });
    let text = "a a a a a a a cat a";
    let mut tokenizer = made(&model);
    tokenizer
        .inner
        .with_post_processor(None::<TemplateProcessing>);
    let tokens = tokenizer.encode(text).expect("a text");
    assert_eq!(tokens.ids, [0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(tokens.unread.lost.as_deref(), Some("a"));
    let template = TemplateProcessing::builder()
        .try_single("$A ] [")
        .expect("a template")
        .special_tokens(vec![("]", 101), ("[", 100)])
        .build()
        .expect("a template");
    tokenizer.inner.with_post_processor(Some(template));
    let tokens = tokenizer.encode(text).expect("a text");
    assert_eq!(tokens.ids, [0, 0, 0, 0, 0, 0, 101, 100]);
    assert_eq!(tokens.unread.lost.as_deref(), Some("a cat a"));
}

#[test]
fn a_text_of_which_a_normalizer_leaves_nothing_is_told() {
    for tokenizer in ALL.iter() {
        holds(tokenizer, "\u{0a47}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_text_has_tokens(
        characters in proptest::collection::vec(proptest::char::any(), 0..60),
        printed in "\\PC{0,60}",
        words in "([a-z']{1,8}[\"#$%&()/;=>@\\[\\]^_`{|}~é日🐈 ]{0,3}){0,12}",
    ) {
        let characters: String = characters.into_iter().collect();
        for tokenizer in ALL.iter() {
            for text in [&characters, &printed, &words] {
                holds(tokenizer, text);
            }
            if let Ok(read) = tokenizer.read_parts("it", &words, LongText::Average) {
                let fits = |part: &TextPart| part.ids.len() <= tokenizer.context;
                assert!(read.parts.iter().all(fits), "{words:?}");
            }
        }
    }
}

/// The tokenizer in a folder of `tests/fixtures/tokenizers`, as a CLIP with these keys of `text_cfg` uses it, whose texts have 16 tokens and are
/// always padded.
fn fabricated(
    folder: &str,
    keys: serde_json::Value,
    change: impl Fn(&mut ClipConfig),
) -> Tokenizer {
    let folder = root("tests/fixtures/tokenizers").join(folder);
    let mut text = json!({
        "context_length": 16, "vocab_size": 1000, "no_causal_mask": true, "hf_tokenizer_name": "a/name",
    });
    text["tokenizer_kwargs"] = keys;
    let config = json!({ "model_cfg": { "embed_dim": 8, "vision_cfg": {}, "text_cfg": text } });
    let mut config = ClipConfig::open_clip(&config.to_string()).expect("a configuration");
    change(&mut config);
    let files = ClipFiles {
        tokenizer: TokenizerFiles::in_folder(&folder),
        ..ClipFiles::single(&folder.join("open_clip_model.safetensors"))
    };
    Tokenizer::of_clip("a model", &files, &config).expect("a tokenizer")
}

/// A tokenizer of another kind than CLIP's gives the tokens of the reference, padding among them.
fn agrees(name: &str, tokenizer: &Tokenizer) {
    let path = root("tests/fixtures/tokenizers/cases.json");
    let cases = std::fs::read(path).expect("the fixture");
    let cases: serde_json::Value = serde_json::from_slice(&cases).expect("cases");
    let texts: Vec<String> = serde_json::from_value(cases["texts"].clone()).expect("texts");
    let rows: Vec<Vec<u32>> = serde_json::from_value(cases[name].clone()).expect("rows");
    for (text, row) in texts.iter().zip(&rows) {
        let tokens = tokenizer.read_text("a model", text).expect(text);
        assert_eq!(tokens.ids, *row, "{name}: {text:?}");
    }
    // the end of the last text is cut, and its last words are named
    let tokens = tokenizer.read_text("a model", &texts[8]).expect("a text");
    let lost = tokens.unread.lost.expect("an end");
    assert!(texts[8].ends_with(&lost), "{name}: {lost}");
}

#[test]
fn unigram_tokens_of_siglip_agree_with_both_libraries() {
    let clean = json!({ "clean": "canonicalize" });
    agrees("siglip", &fabricated("siglip", clean.clone(), |_| {}));
    let theirs = fabricated("siglip", clean, |config| {
        config.layout = Layout::HuggingFace;
        config.text.tokens = TokenRules::siglip(TextCleaning::Siglip);
    });
    agrees("siglip-transformers", &theirs);
}

#[test]
fn byte_fallback_tokens_of_siglip_2_agree_with_both_libraries() {
    let clean = json!({ "clean": "canonicalize" });
    agrees("siglip2", &fabricated("siglip2", clean.clone(), |_| {}));
    // as transformers 5 saves a fresh tokenizer: without an end, and padded on the left
    agrees(
        "siglip2",
        &fabricated("siglip2-fresh", clean.clone(), |_| {}),
    );
    for folder in ["siglip2", "siglip2-fresh"] {
        let theirs = fabricated(folder, clean.clone(), |config| {
            config.layout = Layout::HuggingFace;
            config.text.tokens = TokenRules::siglip(TextCleaning::Siglip2);
        });
        agrees("siglip2-transformers", &theirs);
    }
}

#[test]
fn tokens_of_xlm_roberta_roberta_and_nllb_agree_with_open_clip() {
    for name in ["xlm-roberta", "roberta", "nllb"] {
        agrees(name, &fabricated(name, json!({}), |_| {}));
    }
}

#[test]
fn the_language_of_nllb_is_before_a_text_whatever_its_file_says() {
    let from = root("tests/fixtures/tokenizers/nllb");
    let folder = tempfile::tempdir().expect("a folder");
    let settings = "tokenizer_config.json";
    std::fs::copy(from.join(settings), folder.path().join(settings)).expect("a copy");
    // as published: behind the end
    let json = std::fs::read_to_string(from.join("tokenizer.json")).expect("a tokenizer");
    let mut json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let single = &mut json["post_processor"]["single"];
    let pieces = single.as_array_mut().expect("pieces");
    pieces.rotate_left(1);
    std::fs::write(folder.path().join("tokenizer.json"), json.to_string()).expect("a file");
    let path = folder.path().to_string_lossy();
    let change = |config: &mut ClipConfig| config.text.tokens.frame = TextFrame::Language;
    agrees("nllb", &fabricated(&path, json!({}), change));
}

#[test]
fn word_pieces_of_clipa_have_zeros_for_their_separator() {
    let tokenizer = fabricated("bert", json!({ "strip_sep_token": true }), |_| {});
    agrees("bert", &tokenizer);
}

/// The parts of a text, and the tokens of each without begin and end.
fn parts(tokenizer: &Tokenizer, text: &str) -> Vec<Vec<u32>> {
    let frame = tokenizer.encode("").expect("no text").ids;
    let begin = frame.len() - 1;
    let read = (tokenizer.read_parts("it", text, LongText::Average)).expect(text);
    assert_eq!(read.unread.lost, None, "{text}");
    for part in &read.parts {
        assert!(part.ids.len() <= tokenizer.context, "{text:?}");
        assert!(part.count <= tokenizer.context - frame.len(), "{text:?}");
        assert_eq!(part.ids[..begin], frame[..begin], "{text:?}");
        assert_eq!(part.ids[begin + part.count], frame[begin], "{text:?}");
    }
    let own = |part: &TextPart| part.ids[begin..begin + part.count].to_vec();
    read.parts.iter().map(own).collect()
}

#[test]
fn a_long_text_is_divided_between_words() {
    let clip = of_folder("tests/fixtures/open-clip-text/model", Layout::OpenClip);
    let mut whole = of_folder("tests/fixtures/open-clip-text/model", Layout::OpenClip);
    whole.context = 10_000;
    let ids = |text: &str| whole.encode(text).expect(text).ids;
    let text = "it dog &amp; the déjà vu, ".repeat(60);
    let parts = parts(&clip, &text);
    assert!(parts.len() > 5 && parts[..parts.len() - 1].iter().all(|part| part.len() > 60));
    // nothing is lost, and no word is cut in two
    let all = ids(&text);
    assert_eq!(parts.concat(), all[1..all.len() - 1]);
    let ends: Vec<u32> = ["it", "dog", "&", "the", "déjà", "vu,"]
        .map(|word| ids(word)[ids(word).len() - 2])
        .to_vec();
    for part in &parts {
        assert!(ends.contains(part.last().expect("a token")));
    }
    // a text that fits is one part, and truncated as it was
    for text in ["a dog", ""] {
        let whole = clip.read_parts("it", text, LongText::Average);
        let cut = clip.read_parts("it", text, LongText::Truncate);
        assert_eq!(whole.expect(text), cut.expect(text));
    }
    let cut = (clip.read_parts("it", &text, LongText::Truncate)).expect("a text");
    assert_eq!(cut.parts.len(), 1);
    assert!(cut.unread.lost.is_some());
}

#[test]
fn every_kind_of_tokenizer_divides_texts() {
    let long = "a red boat by the sea, ".repeat(9);
    let unspaced = "abcdefghij日本の山🐈".repeat(9);
    for name in [
        "siglip",
        "siglip2",
        "xlm-roberta",
        "roberta",
        "nllb",
        "bert",
    ] {
        let rules = if name == "siglip" {
            json!({ "clean": "canonicalize" })
        } else {
            json!({})
        };
        let tokenizer = fabricated(name, rules.clone(), |_| {});
        let whole = fabricated(name, rules, |config| config.text.context = 2000);
        let own = |tokens: Vec<Vec<u32>>| tokens.concat().len();
        let (divided, all) = (parts(&tokenizer, &long), parts(&whole, &long));
        assert!(divided.len() > 2 && all.len() == 1, "{name}: {divided:?}");
        // a space in front of a word may be a token of its own
        let counts = (own(divided.clone()), own(all));
        assert!(
            counts.0.abs_diff(counts.1) <= divided.len(),
            "{name}: {counts:?}"
        );
        // BERT's unknown word is one token, however long
        let divided = parts(&tokenizer, &unspaced).len();
        assert!(divided > 2 || name == "bert", "{name}: {divided}");
    }
}
