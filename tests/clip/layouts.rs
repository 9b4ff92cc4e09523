//! The ways in which a CLIP's files may lie in a folder.

use std::fs;

use candle_core::Device;
use phantasia::clip::files::ClipFiles;
use phantasia::clip::{Clip, DTypePolicy};
use tempfile::TempDir;

use crate::common::clips::{load, load_error, read, see};
use crate::common::{copies, fixture};

fn folder(files: &[(&str, &str)]) -> TempDir {
    let files: Vec<_> = (files.iter())
        .map(|(from, name)| (fixture(from), *name))
        .collect();
    copies(&files)
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn a_pickled_state_dict_in_half_precision_is_the_same_clip() {
    let pickled = folder(&[
        (
            "clip-open-vit/open_clip_config.json",
            "open_clip_config.json",
        ),
        ("clip-open-vit/tokenizer.json", "tokenizer.json"),
        (
            "clip-pickled/open_clip_pytorch_model.bin",
            "open_clip_pytorch_model.bin",
        ),
    ]);
    let (whole, half) = (load(&fixture("clip-open-vit")), load(pickled.path()));
    assert!(cosine(&see(&whole), &see(&half)) > 0.9999);
    let text = |clip: &Clip| read(clip, "a red apple");
    assert!(cosine(&text(&whole), &text(&half)) > 0.9999);
}

#[test]
fn words_and_merges_are_the_same_tokenizer() {
    let pairs = folder(&[
        (
            "clip-open-vit/open_clip_config.json",
            "open_clip_config.json",
        ),
        (
            "clip-open-vit/open_clip_model.safetensors",
            "open_clip_model.safetensors",
        ),
    ]);
    let json = fs::read(fixture("clip-open-vit/tokenizer.json")).expect("a tokenizer");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    let mut vocabulary = json["model"]["vocab"].as_object().expect("words").clone();
    for token in json["added_tokens"].as_array().expect("tokens") {
        let name = token["content"].as_str().expect("a name").to_owned();
        vocabulary.insert(name, token["id"].clone());
    }
    let merges = json["model"]["merges"].as_array().expect("merges").iter();
    let lines: Vec<String> = merges
        .map(|pair| match pair.as_array() {
            Some(pair) => pair
                .iter()
                .filter_map(|part| part.as_str())
                .collect::<Vec<_>>()
                .join(" "),
            None => pair.as_str().expect("a pair").to_owned(),
        })
        .collect();
    fs::write(
        pairs.path().join("vocab.json"),
        serde_json::Value::Object(vocabulary).to_string(),
    )
    .expect("a file");
    fs::write(
        pairs.path().join("merges.txt"),
        format!("#version: 0.2\n{}\n", lines.join("\n")),
    )
    .expect("a file");
    let (whole, pairs) = (load(&fixture("clip-open-vit")), load(pairs.path()));
    for text in [
        "a red apple on a table",
        "  two   cats, it's 1 cat's HOUSE ",
        "café at night!",
    ] {
        assert_eq!(read(&whole, text), read(&pairs, text), "{text}");
    }
}

#[test]
fn a_folder_without_a_tokenizer_says_how_to_get_one() {
    let bare = folder(&[
        (
            "clip-open-vit/open_clip_config.json",
            "open_clip_config.json",
        ),
        (
            "clip-open-vit/open_clip_model.safetensors",
            "open_clip_model.safetensors",
        ),
    ]);
    // CLIP's own does not fit so few tokens
    let error = load_error(bare.path());
    assert!(error.contains("604 tokens of its own"), "{error}");
    let path = bare.path().join("open_clip_config.json");
    let config = std::fs::read_to_string(&path).expect("the configuration");
    let standard = config.replace("604", "49408");
    assert_ne!(standard, config);
    std::fs::write(&path, standard).expect("a configuration");
    let error = load_error(bare.path());
    assert!(
        error.contains("models fetch openai/clip-vit-base-patch32"),
        "{error}"
    );
}

#[test]
fn weights_alone_tell_their_shape() {
    let alone = folder(&[
        ("clip-open-vit/tokenizer.json", "tokenizer.json"),
        ("clip-pickled/open_clip_pytorch_model.bin", "tiny.pt"),
    ]);
    let clip = Clip::from_files(
        "tiny",
        &ClipFiles::single(&alone.path().join("tiny.pt")),
        DTypePolicy::F32,
        &Device::Cpu,
    )
    .expect("a CLIP");
    let whole = load(&fixture("clip-open-vit"));
    assert_eq!(clip.towers()[0].size(), whole.towers()[0].size());
    assert_eq!(clip.projection(), whole.projection());
}
