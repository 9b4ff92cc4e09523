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
use phantasia::clip::files::{ClipFiles, TokenizerFiles};
use phantasia::clip::{Clip, ClipActivation, DTypePolicy, fast_dot};
use phantasia::judge::Ensemble;
use phantasia::objective::{Target, prompt_loss};
use phantasia::picture::load_rgb;
use phantasia::recipe::{Distance, Recipe, Select};
use phantasia::session::Session;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::clips::{error, pixels, read};
use crate::common::{self, parse, program};

fn fixture(name: &str) -> PathBuf {
    common::fixture("clip-keys").join(name)
}

/// A folder of copies: files of the fixtures under other names.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let files: Vec<_> = (files.iter())
        .map(|(from, name)| (fixture(from), *name))
        .collect();
    common::copies(&files)
}

fn write(folder: &Path, name: &str, json: &Value) {
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
fn cosines(clip: Clip, cases: &Value) -> Result<Vec<Vec<f64>>> {
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

fn cases() -> Value {
    let text = fs::read_to_string(fixture("cases.json")).expect("the cases");
    serde_json::from_str(&text).expect("JSON")
}

#[track_caller]
fn assert_near(name: &str, found: &[Vec<f64>], expected: &Value) {
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

fn open_clip() -> Value {
    cases()["models"]["control"]["files"]["open_clip_config.json"].clone()
}

/// The configuration with another value at a place such as `/model_cfg/quick_gelu`.
fn with(config: &Value, place: &str, value: Value) -> String {
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
            "/model_cfg/multimodal_cfg",
            json!({}),
            "CoCa (`multimodal_cfg`)",
        ),
        (
            "/model_cfg/vision_cfg/attentional_pool",
            json!(true),
            "CoCa",
        ),
        (
            "/model_cfg/text_cfg/hf_model_name",
            json!("roberta-base"),
            "`roberta-base` of transformers",
        ),
        (
            "/model_cfg/vision_cfg/timm_model_name",
            json!("vit_base_patch16_siglip_224"),
            "SigLIP: its image tower is timm's `vit_base_patch16_siglip_224`",
        ),
        (
            "/model_cfg/vision_cfg/timm_model_name",
            json!("convnext_base"),
            "ConvNeXt",
        ),
        (
            "/model_cfg/vision_cfg/timm_model_name",
            json!("eva02_base_patch16_clip_224"),
            "EVA",
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

fn hugging_face() -> Value {
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
        ("/model_type", json!("siglip"), "a SigLIP"),
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
fn timm_repositories_have_a_clip_and_an_image_tower() -> Result<()> {
    let timm = folder(&[
        ("tokenizer.json", "tokenizer.json"),
        ("siglip.safetensors", "model.safetensors"),
        ("open.safetensors", "open_clip_model.safetensors"),
    ]);
    let config = json!({"architecture": "vit_base_patch32_clip_224", "num_features": 768});
    write(timm.path(), "config.json", &config);
    write(timm.path(), "open_clip_config.json", &open_clip());
    let clip = Clip::from_folder("timm", timm.path(), &Device::Cpu)?;
    let cases = cases();
    assert_near(
        "timm",
        &cosines(clip, &cases)?,
        &cases["models"]["control"]["cosine"],
    );

    fs::remove_file(timm.path().join("open_clip_config.json"))?;
    let refused = Clip::from_folder("timm", timm.path(), &Device::Cpu)
        .err()
        .expect("refused");
    assert!(
        refused
            .to_string()
            .contains("timm's `vit_base_patch32_clip_224`"),
        "{refused}"
    );

    // a configuration of transformers' counts before open_clip's
    let both = folder(&[
        ("tokenizer.json", "tokenizer.json"),
        ("hf.safetensors", "model.safetensors"),
        ("siglip.safetensors", "open_clip_model.safetensors"),
    ]);
    write(both.path(), "config.json", &hugging_face());
    write(both.path(), "open_clip_config.json", &open_clip());
    Clip::from_folder("both", both.path(), &Device::Cpu)?;
    Ok(())
}

#[test]
fn a_folder_with_only_half_precision_weights_is_read() -> Result<()> {
    let half = folder(&[
        ("tokenizer.json", "tokenizer.json"),
        ("hf.safetensors", "model.fp16.safetensors"),
    ]);
    write(half.path(), "config.json", &hugging_face());
    Clip::from_folder("half", half.path(), &Device::Cpu)?;
    Ok(())
}

/// A folder with the pictures, `finetuned.pt`, and a tokenizer.
fn fine_tuned() -> TempDir {
    folder(&[
        ("finetuned.pt", "finetuned.pt"),
        ("finetuned.pt", "finetuned-quickgelu.pt"),
        ("finetuned.pt", "l14_400m.pt"),
        ("siglip.safetensors", "siglip.safetensors"),
        ("tokenizer.json", "tokenizer.json"),
        ("pic1.png", "pic1.png"),
    ])
}

/// The cosine of the third text and the second picture, and what was said on standard error.
#[track_caller]
fn score(folder: &Path, clip: &str, args: &[&str]) -> (f64, String) {
    let basic = [
        "score",
        "--clip",
        clip,
        "--prompt",
        "old tower",
        "--json",
        "--quiet",
        "pic1.png",
    ];
    let output = program::run(folder, &[&basic, args].concat());
    let said = program::text(&output.stderr);
    let cosine = program::json(&output)["results"][0]["score"].as_f64();
    (cosine.expect("a score"), said)
}

#[test]
fn an_assumed_nonlinearity_is_reported_and_can_be_set() {
    let folder = fine_tuned();
    let wanted = cases()["quick_gelu"][2][1].as_f64().expect("a cosine");
    let quick = |cosine: f64| (cosine - wanted).abs() < 5e-4;

    let (cosine, said) = score(folder.path(), "finetuned.pt", &[]);
    assert!(!quick(cosine), "{cosine}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for words in [
        "finetuned.pt",
        "GELU is assumed",
        "`activation: quick_gelu`",
        "--activation quick_gelu",
    ] {
        assert!(said.contains(words), "{said}");
    }
    for (clip, args) in [
        ("finetuned.pt", &["--activation", "quick_gelu"][..]),
        ("finetuned-quickgelu.pt", &[]),
    ] {
        let (cosine, said) = score(folder.path(), clip, args);
        assert!(quick(cosine) && said.is_empty(), "{clip}: {cosine} {said}");
    }
    // a name of MetaCLIP's
    let (cosine, said) = score(folder.path(), "l14_400m.pt", &[]);
    assert!(
        quick(cosine) && said.contains("QuickGELU is assumed"),
        "{cosine} {said}"
    );
    let (cosine, said) = score(
        folder.path(),
        "finetuned-quickgelu.pt",
        &["--activation", "gelu"],
    );
    assert!(!quick(cosine) && said.is_empty(), "{cosine} {said}");
}

#[test]
fn an_unknown_or_superfluous_nonlinearity_is_refused() {
    let folder = fine_tuned();
    let run = |args: &[&str]| {
        let basic = ["score", "--prompt", "old tower", "--quiet", "pic1.png"];
        program::run(folder.path(), &[&basic, args].concat())
    };
    let refused = run(&["--clip", "finetuned.pt", "--activation", "tanh"]);
    program::assert_refused(&refused, 2, "expected quick_gelu or gelu");
    program::assert_refused(&run(&["--activation", "gelu"]), 2, "the embedded CLIP");
    let refused = run(&["--clip", "siglip.safetensors"]);
    program::assert_refused(
        &refused,
        1,
        "a SigLIP whose image tower is timm's (`visual.trunk.` and `logit_bias`)",
    );
}

#[test]
fn a_recipe_says_the_nonlinearity_of_each_clip() -> Result<()> {
    let folder = fine_tuned();
    let model = folder.path().join("finetuned.pt");
    let text = |more: &str| {
        let model = model.display();
        format!("prompts: old tower\nsize: 32x32\nsteps: 1\nclip: {{ model: \"{model}\"{more} }}\n")
    };
    let warnings = |recipe: &Recipe| {
        Ok::<_, anyhow::Error>(Session::new(recipe, &Device::Cpu)?.take_warnings())
    };

    let recipe = parse(&text(""));
    let told = warnings(&recipe)?;
    assert!(
        told.iter().any(|line| line.contains("GELU is assumed")),
        "{told:?}"
    );
    let recipe = parse(&text(", activation: quick_gelu"));
    assert_eq!(parse(&recipe.to_yaml()), recipe);
    assert!(recipe.to_yaml().contains("activation: quick_gelu"));
    assert_eq!(warnings(&recipe)?, Vec::<String>::new());

    let schema = Recipe::schema().to_string();
    assert!(schema.contains("\"quick_gelu\""));
    Ok(())
}

#[test]
fn a_resnet_s_image_tower_keeps_its_nonlinearity() -> Result<()> {
    let resnet = common::fixture("clip-open-resnet");
    let load = |activation| {
        let mut files = ClipFiles::in_folder(&resnet)?;
        files.activation = activation;
        Clip::from_files("resnet", &files, DTypePolicy::F32, &Device::Cpu)
    };
    // its configuration says quick_gelu
    let (as_it_is, other) = (load(None)?, load(Some(ClipActivation::Gelu))?);
    let same = load(Some(ClipActivation::QuickGelu))?;
    let image = Tensor::full(0.3f32, (1, 3, 64, 64), &Device::Cpu)?;
    let see = |clip: &Clip| {
        clip.towers()[0]
            .eval(&image)?
            .flatten_all()?
            .to_vec1::<f32>()
    };
    assert_eq!(see(&as_it_is)?, see(&other)?);
    let read = |clip: &Clip| read(clip, "a red apple");
    assert_ne!(read(&as_it_is), read(&other));
    assert_eq!(read(&as_it_is), read(&same));
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

/// The tensors of a fixture, written as one file under other names.
fn renamed(from: &str, to: &Path, name: impl Fn(&str) -> String) -> Result<()> {
    let tensors = candle_core::safetensors::load(fixture(from), &Device::Cpu)?;
    let tensors = (tensors.into_iter())
        .map(|(key, tensor)| (name(&key), tensor))
        .collect();
    Ok(candle_core::safetensors::save(&tensors, to)?)
}

#[test]
fn a_text_tower_that_is_kept_apart_is_found_by_its_tensors() -> Result<()> {
    let folder = folder(&[("tokenizer.json", "tokenizer.json")]);
    let weights = folder.path().join("weights.safetensors");
    renamed("open.safetensors", &weights, |key| {
        match key.starts_with("visual.") || key == "logit_scale" {
            true => key.to_owned(),
            false => format!("text.{key}"),
        }
    })?;
    let cases = cases();
    let expected = &cases["models"]["control"]["cosine"];
    // the shape derived from the tensors
    let clip = Clip::from_files(
        "single",
        &ClipFiles::single(&weights),
        DTypePolicy::F32,
        &Device::Cpu,
    )?;
    assert_near("single", &cosines(clip, &cases)?, expected);
    // and a configuration that does not say `custom_text`
    fs::rename(&weights, folder.path().join("open_clip_model.safetensors"))?;
    write(folder.path(), "open_clip_config.json", &open_clip());
    let clip = Clip::from_folder("folder", folder.path(), &Device::Cpu)?;
    assert_near("folder", &cosines(clip, &cases)?, expected);
    Ok(())
}

#[test]
fn weights_that_do_not_show_how_tokens_are_pooled_are_refused() {
    for (name, words) in [("clipa", "`visual.ln_pre`"), ("sigmoid", "`logit_bias`")] {
        let files = ClipFiles::single(&fixture(name).join("open_clip_model.safetensors"));
        let refused = Clip::from_files(name, &files, DTypePolicy::F32, &Device::Cpu);
        let refused = refused.err().expect(name).to_string();
        assert!(
            refused.contains(words) && refused.contains("open_clip_config.json"),
            "{refused}"
        );
    }
}

#[test]
fn layer_scale_is_derived_from_weights() -> Result<()> {
    let folder = folder(&[
        ("tokenizer.json", "tokenizer.json"),
        ("layer-scale.safetensors", "weights.safetensors"),
    ]);
    let files = ClipFiles::single(&folder.path().join("weights.safetensors"));
    let clip = Clip::from_files("single", &files, DTypePolicy::F32, &Device::Cpu)?;
    let cases = cases();
    let expected = &cases["models"]["layer-scale"]["cosine"];
    assert_near("single", &cosines(clip, &cases)?, expected);
    Ok(())
}

#[test]
fn a_download_brings_what_says_how_pictures_are_shown_and_the_whole_clip() -> Result<()> {
    use phantasia::models::FetchRequest;
    for name in ["openai/clip-vit-base-patch32", "somebody/some-model"] {
        let optional =
            (FetchRequest::parse(name)?.layouts.into_iter()).flat_map(|files| files.optional);
        assert!(
            optional
                .into_iter()
                .any(|file| file == "processor_config.json"),
            "{name}"
        );
    }
    // repositories of timm hold an image tower as model.safetensors
    let request = FetchRequest::parse("timm/some-clip")?;
    let place = |name: &str| {
        (request.layouts.iter()).position(|files| files.weights.contains(&name.to_owned()))
    };
    assert!(place("open_clip_pytorch_model.bin") < place("model.safetensors"));
    assert!(place("open_clip_pytorch_model.bin").is_some());
    Ok(())
}

#[test]
fn judges_of_candidates_and_of_labels_take_a_nonlinearity() {
    let folder = fine_tuned();
    fs::write(
        folder.path().join("r.yaml"),
        "prompts: a\nsize: 32x32\nsteps: 1\n",
    )
    .expect("a file");
    let render = [
        "render",
        "r.yaml",
        "--candidates",
        "2",
        "--activation",
        "gelu",
    ];
    let run = |args: &[&str]| program::run(folder.path(), args);
    program::assert_refused(&run(&render), 2, "--judge");
    let embedded = [&render[..], &["--judge", "embedded"]].concat();
    program::assert_refused(&run(&embedded), 2, "the embedded CLIP");
    let classify = [
        "classify",
        "--clip",
        "finetuned.pt",
        "--labels",
        "boat,tower",
        "--json",
        "--quiet",
        "pic1.png",
    ];
    assert!(program::text(&run(&classify).stderr).contains("GELU is assumed"));
    let told = run(&[&classify[..], &["--activation", "quick_gelu"]].concat());
    assert!(!program::text(&told.stderr).contains("assumed"));
}

#[test]
fn a_model_with_a_tokenizer_of_its_own_does_not_take_clip_s() -> Result<()> {
    let mut files = ClipFiles::in_folder(&fixture("end-token"))?;
    files.tokenizer = Some(TokenizerFiles::Json(fixture("tokenizer.json")));
    let refused = Clip::from_files("own", &files, DTypePolicy::F32, &Device::Cpu)
        .err()
        .expect("refused");
    assert!(
        refused
            .to_string()
            .contains("there is none next to the weights"),
        "{refused}"
    );
    // another kind of model is reported even without a tokenizer
    let bare = folder(&[("siglip.safetensors", "open_clip_model.safetensors")]);
    let timm = "/model_cfg/vision_cfg/timm_model_name";
    let config = with(&open_clip(), timm, json!("vit_base_patch16_siglip_224"));
    fs::write(bare.path().join("open_clip_config.json"), config)?;
    let refused = Clip::from_folder("bare", bare.path(), &Device::Cpu)
        .err()
        .expect("refused");
    assert!(refused.to_string().contains("SigLIP"), "{refused}");
    Ok(())
}
