//! The keys of a CLIP's configuration: what changes the result counts as in the reference library, or is refused by name.
//!
//! Models and references are in `tests/fixtures/clip-keys`; see `tests/fixtures/make_clip_keys.py`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use candle_core::{Device, Tensor};
use frozen::Layer;
use phantasia::clip::config::{ClipConfig, TextConfig, TextPool};
use phantasia::clip::{Clip, fast_dot};
use phantasia::judge::Ensemble;
use phantasia::objective::{Target, prompt_loss};
use phantasia::picture::load_rgb;
use phantasia::recipe::{Distance, Select};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::clips::{error, pixels};
use crate::common::{self};

pub fn fixture(name: &str) -> PathBuf {
    common::fixture("clip-keys").join(name)
}

/// A folder of copies: files of the fixtures under other names.
pub fn folder(files: &[(&str, &str)]) -> TempDir {
    let files: Vec<_> = (files.iter())
        .map(|(from, name)| (fixture(from), *name))
        .collect();
    common::copies(&files)
}

pub fn write(folder: &Path, name: &str, json: &Value) {
    fs::write(folder.join(name), json.to_string()).expect("a file");
}

#[test]
fn towers_with_other_keys_agree_with_open_clip() -> Result<()> {
    for name in [
        "clipa",
        "sigmoid",
        "unprojected",
        "own-padding",
        "end-token",
    ] {
        let clip = Clip::from_folder(name, &fixture(name), &Device::Cpu)?;
        let path = fixture(name).join("reference.safetensors");
        let reference = candle_core::safetensors::load(path, &Device::Cpu)?;
        let (pixels, std) = pixels(&reference["pixel_values"])?;
        let tower = &clip.towers()[0];
        let (seen, pullback) = tower.vjp(&pixels)?;
        let off = error(&seen, &reference["image_embeds"])?;
        assert!(off < 1e-4, "{name}: images are off by {off:e}");
        let off = error(&tower.eval(&pixels)?, &seen)?;
        assert!(off < 1e-5, "{name}: eval and vjp differ by {off:e}");

        let texts = fs::read_to_string(fixture(name).join("texts.txt"))?;
        let texts = (texts.lines())
            .map(|text| Ok(clip.embed_text(text)?.vector))
            .collect::<Result<Vec<_>>>()?;
        let unit = Tensor::new(texts.clone(), &Device::Cpu)?;
        let off = error(&unit, &reference["text_embeds_unit"])?;
        assert!(off < 1e-4, "{name}: texts are off by {off:e}");

        let target = Target {
            vector: texts[0].clone(),
            weight: 1.0,
            stop: None,
        };
        let values = seen.flatten_all()?.to_vec1::<f32>()?;
        let targets = std::slice::from_ref(&target);
        let found = prompt_loss(
            &values,
            texts[0].len(),
            targets,
            &[],
            Distance::Cosine,
            Select::All,
        );
        let grad = pullback(&Tensor::from_vec(found.grads, seen.shape(), &Device::Cpu)?)?;
        let off = error(&grad.broadcast_mul(&std)?, &reference["grad_cosine"])?;
        assert!(off < 1e-4, "{name}: the gradient is off by {off:e}");
    }
    Ok(())
}

/// Cosines `[text][picture]`.
pub fn cosines(clip: Clip, cases: &Value) -> Result<Vec<Vec<f64>>> {
    let ensemble = Ensemble::new(vec![Arc::new(clip)], &Device::Cpu)?;
    let names = |key: &str| cases[key].as_array().expect("a list").clone();
    let shown = (names("pictures").iter())
        .map(|name| ensemble.preprocess(&load_rgb(&fixture(name.as_str().expect("a name")))?))
        .collect::<Result<Vec<_>>>()?;
    let seen = ensemble.embed(&shown)?;
    (names("texts").iter())
        .map(|text| {
            let (text, _) = ensemble.encoders()[0].embed_text(text.as_str().expect("a text"))?;
            Ok(seen
                .iter()
                .map(|vectors| fast_dot(&text, &vectors[0]))
                .collect())
        })
        .collect()
}

pub fn cases() -> Value {
    let text = fs::read_to_string(fixture("cases.json")).expect("the cases");
    serde_json::from_str(&text).expect("JSON")
}

#[track_caller]
pub fn assert_near(name: &str, found: &[Vec<f64>], expected: &Value) {
    for (text, row) in found.iter().enumerate() {
        for (picture, cosine) in row.iter().enumerate() {
            let wanted = expected[text][picture].as_f64().expect("a cosine");
            assert!(
                (cosine - wanted).abs() < 2e-3,
                "{name}: {cosine} for {wanted}"
            );
        }
    }
}

#[test]
fn models_of_both_layouts_give_the_reference_s_cosines() -> Result<()> {
    let cases = cases();
    for (name, model) in cases["models"].as_object().expect("models") {
        let weights = model["weights"].as_str().expect("a name");
        let theirs = match weights {
            "hf" => "model.safetensors",
            _ => "open_clip_model.safetensors",
        };
        let folder = folder(&[
            ("tokenizer.json", "tokenizer.json"),
            (&format!("{weights}.safetensors"), theirs),
        ]);
        for (file, json) in model["files"].as_object().expect("files") {
            write(folder.path(), file, json);
        }
        let clip = Clip::from_folder(name, folder.path(), &Device::Cpu)?;
        assert!(clip.warnings().is_empty());
        assert_near(name, &cosines(clip, &cases)?, &model["cosine"]);
    }
    Ok(())
}

pub fn open_clip() -> Value {
    cases()["models"]["control"]["files"]["open_clip_config.json"].clone()
}

/// The configuration with another value at a place such as `/model_cfg/quick_gelu`.
pub fn with(config: &Value, place: &str, value: Value) -> String {
    let (parent, key) = place.rsplit_once('/').expect("a place");
    let mut config = config.clone();
    config.pointer_mut(parent).expect("an object")[key] = value;
    config.to_string()
}

#[test]
fn a_square_may_be_written_as_two_sides() -> Result<(), String> {
    let config = ClipConfig::open_clip(&with(
        &open_clip(),
        "/model_cfg/vision_cfg/image_size",
        json!([32, 32]),
    ))?;
    assert_eq!(config.vision.image_size, 32);
    Ok(())
}

#[test]
fn open_clip_s_keys_that_are_not_built_are_refused_by_name() {
    for (place, value, words) in [
        ("/model_cfg/unheard_of", json!(1), "`model_cfg.unheard_of`"),
        (
            "/model_cfg/vision_cfg/wdith",
            json!(1),
            "`model_cfg.vision_cfg.wdith`",
        ),
        (
            "/model_cfg/text_cfg/wdith",
            json!(1),
            "`model_cfg.text_cfg.wdith`",
        ),
        (
            "/preprocess_cfg/crop_pct",
            json!(0.9),
            "`preprocess_cfg.crop_pct`",
        ),
        (
            "/model_cfg/vision_cfg/layers",
            json!("many"),
            "`model_cfg.vision_cfg.layers`",
        ),
        (
            "/model_cfg/vision_cfg/image_size",
            json!([32, 64]),
            "image_size",
        ),
        ("/model_cfg/vision_cfg/qk_norm", json!(true), "qk_norm"),
        ("/model_cfg/vision_cfg/scale_fc", json!(true), "scale_fc"),
        (
            "/model_cfg/text_cfg/scale_heads",
            json!(true),
            "scale_heads",
        ),
        (
            "/model_cfg/vision_cfg/block_type",
            json!("custom"),
            "block_type",
        ),
        (
            "/model_cfg/vision_cfg/pool_type",
            json!("none"),
            "pool_type",
        ),
        ("/model_cfg/text_cfg/pool_type", json!("none"), "pool_type"),
        (
            "/model_cfg/vision_cfg/act_kwargs",
            json!({"inplace": true}),
            "inplace",
        ),
        (
            "/model_cfg/vision_cfg/norm_kwargs",
            json!({"bias": false}),
            "norm_kwargs.bias",
        ),
        (
            "/model_cfg/text_cfg/tokenizer_mode",
            json!("clips"),
            "tokenizer_mode",
        ),
        (
            "/model_cfg/text_cfg/tokenizer_kwargs",
            json!({"language": "en"}),
            "language",
        ),
        (
            "/model_cfg/text_cfg/tokenizer_kwargs",
            json!({"clean": "x"}),
            "clean",
        ),
        (
            "/model_cfg/text_cfg/proj_type",
            json!("none"),
            "without a projection, which does not match the joint space of 48",
        ),
        ("/preprocess_cfg/interpolation", json!("nearest"), "nearest"),
        ("/preprocess_cfg/resize_mode", json!("crop"), "crop"),
        ("/preprocess_cfg/mode", json!("L"), "mode"),
        // other kinds of model
        (
            "/model_cfg/vision_cfg/attentional_pool",
            json!("cascade"),
            "`model_cfg.vision_cfg.attentional_pool` = \"cascade\"",
        ),
        (
            "/model_cfg/text_cfg/hf_model_name",
            json!("google/mt5-base"),
            "`google/mt5-base` of transformers",
        ),
        (
            "/model_cfg/vision_cfg/timm_model_name",
            json!("swin_base_patch4_window7_224"),
            "its image tower is timm's `swin_base_patch4_window7_224`",
        ),
    ] {
        let mut config = open_clip();
        if words.contains("joint space") {
            config["model_cfg"]["embed_dim"] = json!(48);
        }
        let refused = ClipConfig::open_clip(&with(&config, place, value)).expect_err(place);
        assert!(refused.contains(words), "{place}: {refused}");
    }
}

#[test]
fn keys_of_open_clip_without_effect_pass() -> Result<(), String> {
    let plain = ClipConfig::open_clip(&open_clip().to_string())?;
    for (place, value) in [
        ("/model_cfg/vision_cfg/patch_dropout", json!(0.5)),
        ("/model_cfg/vision_cfg/output_tokens", json!(true)),
        ("/model_cfg/vision_cfg/attentional_pool", json!(false)),
        ("/model_cfg/vision_cfg/timm_model_name", json!(null)),
        ("/model_cfg/vision_cfg/qk_norm", json!(false)),
        ("/model_cfg/text_cfg/final_ln_after_pool", json!(true)),
        ("/model_cfg/text_cfg/eos_id", json!(7)),
        ("/model_cfg/custom_text", json!(true)),
        ("/model_cfg/init_logit_scale", json!(3.0)),
        ("/preprocess_cfg/size", json!(224)),
    ] {
        let config = ClipConfig::open_clip(&with(&open_clip(), place, value))?;
        assert_eq!(config, plain, "{place}");
    }
    Ok(())
}

pub fn hugging_face() -> Value {
    cases()["models"]["hf-control"]["files"]["config.json"].clone()
}

fn preprocessor() -> Value {
    cases()["models"]["hf-control"]["files"]["preprocessor_config.json"].clone()
}

#[test]
fn an_older_section_of_config_json_overrides_the_newer_with_its_defaults() -> Result<(), String> {
    let mut config = hugging_face();
    config["text_config_dict"] =
        json!({ "hidden_size": 64, "hidden_act": "gelu", "num_attention_heads": 2 });
    let read = ClipConfig::hugging_face(&config.to_string())?;
    assert_eq!(read.text.stack.width, 64);
    assert_eq!(read.text.stack.activation, frozen::Activation::Gelu);
    // what it leaves out has the default, and not the newer section's value
    assert_eq!(read.text.stack.layers, 12);
    config["text_config_dict"] = Value::Null;
    assert_eq!(
        ClipConfig::hugging_face(&config.to_string())?
            .text
            .stack
            .layers,
        1
    );
    Ok(())
}

#[test]
fn the_end_of_a_text_is_the_token_that_config_json_names() -> Result<(), String> {
    let mut config = hugging_face();
    let pool =
        |config: &Value| Ok::<_, String>(ClipConfig::hugging_face(&config.to_string())?.text.pool);
    assert_eq!(pool(&config)?, TextPool::Token(23));
    config["text_config"]["eos_token_id"] = json!(2);
    // from before 2023, when it was wrong
    assert_eq!(pool(&config)?, TextPool::Highest);
    config["model_type"] = json!("metaclip_2");
    assert_eq!(pool(&config)?, TextPool::Token(2));
    Ok(())
}

#[test]
fn config_json_of_other_kinds_is_refused_by_name() {
    for (place, value, words) in [
        ("/model_type", json!("siglip2"), "a NaFlex SigLIP 2"),
        ("/model_type", json!("blip"), "`blip`, not a `clip`"),
        (
            "/architectures",
            json!(["CLIPVisionModelWithProjection"]),
            "`CLIPVisionModelWithProjection`",
        ),
        (
            "/quantization_config",
            json!({"bits": 4}),
            "quantization_config",
        ),
        (
            "/vision_config/hidden_act",
            json!("mish"),
            "`vision_config.hidden_act`",
        ),
        ("/vision_config/image_size", json!([32, 64]), "image_size"),
    ] {
        let refused =
            ClipConfig::hugging_face(&with(&hugging_face(), place, value)).expect_err(place);
        assert!(refused.contains(words), "{place}: {refused}");
    }
    let naflex = json!({"model_type": "siglip2", "vision_config": {"num_patches": 256}});
    let refused = ClipConfig::hugging_face(&naflex.to_string()).expect_err("refused");
    assert!(refused.contains("NaFlex"), "{refused}");
    let text = json!({"model_type": "clip_text_model", "use_attention_mask": true});
    let refused = TextConfig::hugging_face(&text.to_string()).expect_err("refused");
    assert!(refused.contains("use_attention_mask"), "{refused}");
    let text = json!({"model_type": "t5", "hidden_size": 32});
    assert!(TextConfig::hugging_face(&text.to_string()).is_err());
}

#[test]
fn what_preprocessor_config_json_says_counts_or_is_refused_by_name() -> Result<(), String> {
    let config = ClipConfig::hugging_face(&hugging_face().to_string())?;
    let read = |place: &str, value: Value| {
        config
            .clone()
            .with_preprocessor(&with(&preprocessor(), place, value))
    };
    for (place, value, words) in [
        ("/do_resize", json!(false), "do_resize"),
        ("/do_center_crop", json!(false), "do_center_crop"),
        ("/do_pad", json!(true), "do_pad"),
        ("/do_thumbnail", json!(true), "do_thumbnail"),
        ("/resample", json!(0), "resample"),
        ("/crop_size", json!(28), "crop_size"),
        ("/size", json!({"shortest_edge": 24}), "size"),
        ("/size", json!({"longest_edge": 32}), "longest_edge"),
        ("/size", json!({"height": 32, "width": 48}), "width"),
        ("/rescale_factor", json!(0.0), "rescale_factor"),
        (
            "/image_processor_type",
            json!("BitImageProcessor"),
            "BitImageProcessor",
        ),
    ] {
        let refused = read(place, value).expect_err(place);
        assert!(refused.contains(words), "{place}: {refused}");
    }
    let shown = config
        .clone()
        .with_preprocessor(&preprocessor().to_string())?;
    for (place, value) in [
        ("/size", json!(32)),
        ("/size", json!({"shortest_edge": 32, "longest_edge": null})),
        ("/crop_size", json!(32)),
        ("/crop_size", json!([32, 32])),
        ("/do_convert_rgb", json!(false)),
        ("/do_pad", json!(false)),
        ("/image_processor_type", json!("CLIPImageProcessorFast")),
    ] {
        assert_eq!(read(place, value)?, shown, "{place}");
    }
    // pixels of 0..=255 less the mean of 0..=1
    let unscaled = read("/do_rescale", json!(false))?;
    assert!((unscaled.std[0] - shown.std[0] / 255.0).abs() < 1e-9);
    assert!((unscaled.mean[0] - shown.mean[0] / 255.0).abs() < 1e-9);
    let mean = read("/image_mean", json!(0.5))?.mean;
    assert_eq!(mean, [0.5; 3]);
    let squashed = read("/size", json!({"height": 40, "width": 40}))?;
    assert_eq!(squashed.preprocess.resize, 40);
    Ok(())
}

#[test]
fn labels_are_probable_each_for_itself_where_a_clip_has_a_logit_bias() -> Result<()> {
    use phantasia::judge::{Classifier, Label};
    let clip = Clip::from_folder("sigmoid", &fixture("sigmoid"), &Device::Cpu)?;
    let scale = f64::from(clip.logit_scale());
    let bias = f64::from(clip.logit_bias().expect("a bias"));
    assert!((bias + 10.0).abs() < 1e-6 && (scale - 1.0 / 0.07).abs() < 0.1);
    let ensemble = Ensemble::new(vec![Arc::new(clip)], &Device::Cpu)?;
    let labels = ["a red boat", "the hill"];
    let classifier = Classifier::new(
        ensemble.clone(),
        labels.map(Label::new).to_vec(),
        &["{}".to_owned()],
        |_, _| {},
    )?;
    assert!(classifier.warnings()[0].contains("`logit_bias`"));
    let shown = ensemble.preprocess(&load_rgb(&fixture("pic0.png"))?)?;
    let seen = ensemble.embed(&[shown])?;
    let classification = classifier.classify(&seen[0]);
    for (label, found) in labels.iter().zip(classification.probabilities) {
        let (text, _) = ensemble.encoders()[0].embed_text(label)?;
        let expected = 1.0 / (1.0 + (-scale * fast_dot(&text, &seen[0][0]) - bias).exp());
        assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
    }
    Ok(())
}
