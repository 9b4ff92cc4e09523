//! CLIPs, autoencoders and heads in files as found in practice: wrapped, prefixed, in every form of pickle, together with other data.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use generators::Autoencoder;
use phantasia::aesthetic::Head;
use phantasia::clip::files::ClipFiles;
use phantasia::clip::{Clip, DTypePolicy};
use tempfile::TempDir;

use crate::common::clips::{load, load_error as error, read, see};
use crate::common::fixture;
use crate::common::program;

/// A folder of larger and of published checkpoints, which are not part of the repository: tests are skipped where it is missing.
fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared")
        .join(name);
    if !path.is_dir() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

/// A fixture's tensors under other names.
fn renamed(file: &str, rename: impl Fn(&str) -> String) -> HashMap<String, Tensor> {
    (candle_core::safetensors::load(fixture(file), &Device::Cpu).expect("the fixture"))
        .into_iter()
        .map(|(name, tensor)| (rename(&name), tensor))
        .collect()
}

/// A folder with the configuration and the tokenizer of a fixture, and these weights.
fn folder(fixture_name: &str, weights: &str, tensors: &HashMap<String, Tensor>) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["config.json", "open_clip_config.json", "tokenizer.json"] {
        // a layout has one of the two configurations
        let _ = fs::copy(fixture(fixture_name).join(name), folder.path().join(name));
    }
    candle_core::safetensors::save(tensors, folder.path().join(weights)).expect("weights");
    folder
}

/// What a CLIP makes of a picture and of a text.
fn embeddings(clip: &Clip) -> (Vec<f32>, Vec<f32>) {
    (see(clip), read(clip, "a red apple"))
}

const LAYOUTS: [(&str, &str); 3] = [
    ("clip-open-vit", "open_clip_model.safetensors"),
    ("clip-open-resnet", "open_clip_model.safetensors"),
    ("clip-hf-gelu", "model.safetensors"),
];

#[test]
fn a_clip_is_the_same_under_any_prefix_in_every_layout() {
    for (name, weights) in LAYOUTS {
        let plain = embeddings(&load(&fixture(name)));
        for prefix in [
            "module.",
            "_orig_mod.",
            "module._orig_mod.",
            "model.",
            "clip.",
            "clip_model.",
            "net.",
            "state_dict.model.backbone.",
        ] {
            let file = format!("{name}/{weights}");
            let mut tensors = renamed(&file, |key| format!("{prefix}{key}"));
            // as averages, schedules and optimizers count
            let one = Tensor::new(&[1f32], &Device::Cpu).expect("a tensor");
            tensors.insert("n_averaged".to_owned(), one.clone());
            tensors.insert("optimizer.state.0.step".to_owned(), one);
            let clip = load(folder(name, weights, &tensors).path());
            assert_eq!(embeddings(&clip), plain, "{name} under {prefix}");
            assert_eq!(clip.warnings(), [""; 0], "{name} under {prefix}");
        }
    }
}

#[test]
fn an_unused_head_is_reported_and_has_no_effect() {
    for (name, weights) in LAYOUTS {
        let file = format!("{name}/{weights}");
        let plain = embeddings(&load(&fixture(name)));
        for (prefix, head) in [("clip.", "classifier.weight"), ("", "head.fc.weight")] {
            let mut tensors = renamed(&file, |key| format!("{prefix}{key}"));
            let head_weight = Tensor::new(&[1f32, 2.0], &Device::Cpu).expect("a tensor");
            tensors.insert(head.to_owned(), head_weight);
            let clip = load(folder(name, weights, &tensors).path());
            assert_eq!(embeddings(&clip), plain, "{name}");
            let [warning] = clip.warnings() else {
                panic!("{name}: {:?}", clip.warnings());
            };
            assert!(
                warning.contains(&format!("1 tensor (`{head}`)")),
                "{warning}"
            );
        }
    }
}

#[test]
fn unused_averages_are_reported() {
    let (name, weights) = LAYOUTS[0];
    let file = format!("{name}/{weights}");
    let mut tensors = renamed(&file, |key| format!("model.{key}"));
    let averages = renamed(&file, |key| format!("model_ema.{key}"));
    for (key, tensor) in averages {
        tensors.insert(key, (tensor * 0.5).expect("a tensor"));
    }
    let clip = load(folder(name, weights, &tensors).path());
    assert_eq!(embeddings(&clip), embeddings(&load(&fixture(name))));
    assert!(
        clip.warnings()
            .iter()
            .any(|warning| warning.contains("EMA"))
    );
}

#[test]
fn two_clips_in_one_file_are_refused_by_their_names() {
    let (name, weights) = LAYOUTS[0];
    let file = format!("{name}/{weights}");
    let mut tensors = renamed(&file, |key| format!("student.{key}"));
    tensors.extend(renamed(&file, |key| format!("teacher.{key}")));
    let error = error(folder(name, weights, &tensors).path());
    assert!(error.contains("`student.*`, `teacher.*`"), "{error}");
}

#[test]
fn tensors_that_no_part_of_a_clip_uses_are_refused_by_name() {
    for ((name, weights), extra) in LAYOUTS.into_iter().zip([
        "visual.transformer.resblocks.0.ls_1.gamma",
        "visual.layer1.0.se.weight",
        "text_model.encoder.layers.0.self_attn.q_norm.weight",
    ]) {
        let mut tensors = renamed(&format!("{name}/{weights}"), |key| format!("model.{key}"));
        let gamma = Tensor::new(&[1f32, 2.0], &Device::Cpu).expect("a tensor");
        tensors.insert(format!("model.{extra}"), gamma);
        let error = error(folder(name, weights, &tensors).path());
        assert!(error.contains(&format!("`model.{extra}`")), "{error}");
        assert!(error.contains("no part of this model uses it"), "{error}");
    }
}

#[test]
fn the_shape_is_derived_from_weights_with_a_prefix() {
    let plain = embeddings(&load(&fixture("clip-open-vit")));
    let tensors = renamed("clip-open-vit/open_clip_model.safetensors", |key| {
        format!("module.{key}")
    });
    let folder = folder("clip-open-vit", "alone.safetensors", &tensors);
    let files = ClipFiles::single(&folder.path().join("alone.safetensors"));
    let clip = Clip::from_files("tiny", &files, DTypePolicy::F32, &Device::Cpu).expect("a CLIP");
    assert_eq!(embeddings(&clip).1.len(), plain.1.len());
}

#[test]
fn a_stream_from_before_pytorch_1_6_is_the_same_clip() {
    let folder = folder("clip-open-vit", "other.safetensors", &HashMap::new());
    let name = "open_clip_pytorch_model.bin";
    let load_as = |file: &str| {
        fs::copy(fixture("clip-pickled").join(file), folder.path().join(name)).expect("a copy");
        embeddings(&load(folder.path()))
    };
    // made of the same tensors, so the same to the bit
    assert_eq!(load_as("lightning-legacy.ckpt"), load_as(name));
}

/// transformers' names for OpenCLIP's, where a tensor is the same; the fused attention is divided.
fn hugging_face(tensors: &HashMap<String, Tensor>) -> HashMap<String, Tensor> {
    let mut renamed = HashMap::new();
    for (key, tensor) in tensors {
        let (tower, rest) = match key.strip_prefix("visual.") {
            Some(rest) => ("vision_model", rest),
            None => ("text_model", key.as_str()),
        };
        let name = match rest {
            "conv1.weight" => format!("{tower}.embeddings.patch_embedding.weight"),
            "class_embedding" => format!("{tower}.embeddings.class_embedding"),
            "positional_embedding" => format!("{tower}.embeddings.position_embedding.weight"),
            "token_embedding.weight" => format!("{tower}.embeddings.token_embedding.weight"),
            "proj" => "visual_projection.weight".to_owned(),
            "text_projection" => "text_projection.weight".to_owned(),
            "logit_scale" => "logit_scale".to_owned(),
            _ => {
                let names = [
                    ("transformer.resblocks", "encoder.layers"),
                    ("attn.out_proj", "self_attn.out_proj"),
                    ("mlp.c_fc", "mlp.fc1"),
                    ("mlp.c_proj", "mlp.fc2"),
                    ("ln_1", "layer_norm1"),
                    ("ln_2", "layer_norm2"),
                    ("ln_pre", "pre_layrnorm"),
                    ("ln_post", "post_layernorm"),
                    ("ln_final", "final_layer_norm"),
                ];
                let rest = (names.iter()).fold(rest.to_owned(), |rest, (open, hugging_face)| {
                    rest.replace(open, hugging_face)
                });
                format!("{tower}.{rest}")
            }
        };
        if let Some(part) = name.find(".attn.in_proj_") {
            let (at, end) = (&name[..part], &name[part + ".attn.in_proj_".len()..]);
            for (third, projection) in tensor
                .chunk(3, 0)
                .expect("thirds")
                .iter()
                .zip("qkv".chars())
            {
                renamed.insert(
                    format!("{at}.self_attn.{projection}_proj.{end}"),
                    third.contiguous().expect("a third"),
                );
            }
        } else if key == "visual.proj" || key == "text_projection" {
            renamed.insert(
                name,
                tensor.t().and_then(|t| t.contiguous()).expect("a matrix"),
            );
        } else {
            renamed.insert(name, tensor.clone());
        }
    }
    renamed
}

/// Scores pictures as the program's user does, and compares the cosines with the expected ones.
fn scores_as_expected(case: &Path, clip: &Path) {
    let text = fs::read_to_string(case.join("expected.json")).expect("the expected cosines");
    let expected: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let (texts, rows) = (&expected["texts"], &expected["cosine"]);
    let pictures: Vec<PathBuf> = (expected["pictures"].as_array().expect("a list").iter())
        .map(|name| case.join(name.as_str().expect("a name")))
        .collect();
    for (text, row) in texts
        .as_array()
        .expect("a list")
        .iter()
        .zip(rows.as_array().expect("rows"))
    {
        let clip = clip.to_str().expect("a path");
        let text = text.as_str().expect("a text");
        let mut args = vec!["score", "--clip", clip, "--prompt", text, "--json"];
        args.extend(pictures.iter().map(|path| path.to_str().expect("a path")));
        let found = program::json(&program::run(Path::new(env!("CARGO_MANIFEST_DIR")), &args));
        let results = found["results"].as_array().expect("results");
        assert_eq!(results.len(), pictures.len());
        // in the order in which they are given
        for (result, expected) in results.iter().zip(row.as_array().expect("numbers")) {
            let (found, expected) = (&result["score"], expected.as_f64().expect("a number"));
            let difference = (found.as_f64().expect("a score") - expected).abs();
            assert!(difference < 2e-3, "{clip}, {text}: {found} {expected}");
        }
    }
}

#[test]
fn the_cases_of_pickles_and_wrappers_score_as_the_reference() {
    for (case, files) in [
        (
            "cases/pickle-forms",
            vec![
                "protocol4.pt",
                "protocol5.pt",
                "seed64.pt",
                "expanded-buffer.pt",
            ],
        ),
        (
            "cases/wrapped-checkpoints",
            vec![
                "plain.pt",
                "compiled.pt",
                "ddp-compiled.pt",
                "lightning.ckpt",
                "lightning-teacher.ckpt",
                "with-head.pt",
            ],
        ),
    ] {
        let Some(case) = shared(case) else { return };
        for file in files {
            scores_as_expected(&case, &case.join(file));
            // ... and within a folder, under either name, with a configuration and without one
            let folder = tempfile::tempdir().expect("a folder");
            fs::copy(
                case.join("tokenizer.json"),
                folder.path().join("tokenizer.json"),
            )
            .expect("a copy");
            let config = folder.path().join("open_clip_config.json");
            for name in ["open_clip_pytorch_model.bin", "pytorch_model.bin"] {
                fs::copy(case.join(file), folder.path().join(name)).expect("a copy");
                scores_as_expected(&case, folder.path());
                fs::write(&config, sized(&case.join(file)).to_string()).expect("written");
                scores_as_expected(&case, folder.path());
                fs::remove_file(&config).expect("removed");
                fs::remove_file(folder.path().join(name)).expect("removed");
            }
        }
    }
}

/// A configuration with the sizes of a checkpoint.
fn sized(file: &Path) -> serde_json::Value {
    let mut checkpoint = weights::checkpoint::Checkpoint::open(file).expect("a checkpoint");
    checkpoint.locate(&["visual.conv1.weight"]).expect("a CLIP");
    let shape = |key: &str| checkpoint.shape(key).expect("a tensor").to_vec();
    let conv = shape("visual.conv1.weight");
    let side = (shape("visual.positional_embedding")[0] - 1).isqrt();
    let layers = |prefix: &str| {
        let key = |i: usize| format!("{prefix}transformer.resblocks.{i}.ln_1.weight");
        (0..).take_while(|&i| checkpoint.has(&key(i))).count()
    };
    let text = shape("text_projection");
    let mut config = serde_json::json!({"model_cfg": {"vision_cfg": {}, "text_cfg": {}}});
    let model = &mut config["model_cfg"];
    model["embed_dim"] = text[1].into();
    model["vision_cfg"]["image_size"] = (side * conv[3]).into();
    model["vision_cfg"]["patch_size"] = conv[3].into();
    model["vision_cfg"]["width"] = conv[0].into();
    model["vision_cfg"]["layers"] = layers("visual.").into();
    for (part, prefix, width) in [
        ("vision_cfg", "visual.", conv[0]),
        ("text_cfg", "", text[0]),
    ] {
        let hidden = shape(&format!("{prefix}transformer.resblocks.0.mlp.c_fc.weight"))[0];
        model[part]["mlp_ratio"] = (hidden as f64 / width as f64).into();
    }
    model["text_cfg"]["width"] = text[0].into();
    model["text_cfg"]["heads"] = (text[0] / 64).max(1).into();
    model["text_cfg"]["layers"] = layers("").into();
    model["text_cfg"]["vocab_size"] = shape("token_embedding.weight")[0].into();
    model["text_cfg"]["context_length"] = shape("positional_embedding")[0].into();
    config
}

#[test]
fn wrapped_weights_in_transformers_layout_are_the_same_clip() {
    let name = "clip-open-vit";
    let tensors = renamed(
        &format!("{name}/open_clip_model.safetensors"),
        str::to_owned,
    );
    let plain = embeddings(&load(&fixture(name)));
    let open = fs::read_to_string(fixture(name).join("open_clip_config.json")).expect("a file");
    let open: serde_json::Value = serde_json::from_str(&open).expect("JSON");
    let model = &open["model_cfg"];
    let act = if model["quick_gelu"] == true {
        "quick_gelu"
    } else {
        "gelu"
    };
    let (vision, text) = (&model["vision_cfg"], &model["text_cfg"]);
    let hidden = |prefix: &str| {
        let key = format!("{prefix}transformer.resblocks.0.mlp.c_fc.weight");
        tensors[&key].dims()[0]
    };
    let width = vision["width"].as_u64().expect("a width");
    let head = vision["head_width"].as_u64().unwrap_or(64);
    let config = serde_json::json!({
        "model_type": "clip",
        "projection_dim": model["embed_dim"],
        "vision_config": {
            "hidden_size": width, "intermediate_size": hidden("visual."), "num_hidden_layers": vision["layers"],
            "num_attention_heads": (width / head).max(1), "image_size": vision["image_size"], "patch_size": vision["patch_size"],
            "hidden_act": act, "layer_norm_eps": 1e-5,
        },
        "text_config": {
            "hidden_size": text["width"], "intermediate_size": hidden(""), "num_hidden_layers": text["layers"],
            "num_attention_heads": text["heads"], "max_position_embeddings": text["context_length"],
            "vocab_size": text["vocab_size"], "hidden_act": act, "layer_norm_eps": 1e-5, "eos_token_id": 2,
        },
    });
    for prefix in ["", "module._orig_mod.", "model.clip."] {
        let wrapped = (hugging_face(&tensors).into_iter())
            .map(|(key, tensor)| (format!("{prefix}{key}"), tensor))
            .collect();
        let folder = folder(name, "pytorch_model.bin", &wrapped);
        fs::remove_file(folder.path().join("open_clip_config.json")).expect("removed");
        fs::write(folder.path().join("config.json"), config.to_string()).expect("written");
        let (seen, read) = embeddings(&load(folder.path()));
        for (found, expected) in seen.iter().zip(&plain.0).chain(read.iter().zip(&plain.1)) {
            assert!(
                (found - expected).abs() < 1e-4,
                "{prefix}: {found} {expected}"
            );
        }
    }
}

#[test]
fn published_heads_are_read() {
    let Some(real) = shared("real") else { return };
    for (file, width) in [("sa.pth", 768), ("sac+logos+ava1-l14-linearMSE.pth", 768)] {
        let head = Head::open(file, &real.join(file)).expect("a head");
        assert_eq!(head.width(), width);
        let even = vec![(1.0 / width as f32).sqrt(); width];
        assert!(head.score(&even).is_finite());
    }
}

#[test]
fn a_head_with_unused_layers_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("head.safetensors");
    let row = Tensor::new(&[[1f32, 2.0]], &Device::Cpu).expect("a tensor");
    let one = Tensor::new(&[1f32], &Device::Cpu).expect("a tensor");
    let write = |names: &[(&str, &Tensor)]| {
        let tensors: HashMap<&str, Tensor> = (names.iter())
            .map(|(name, tensor)| (*name, (*tensor).clone()))
            .collect();
        candle_core::safetensors::save(&tensors, &path).expect("written");
    };
    write(&[("model.linear.weight", &row), ("model.linear.bias", &one)]);
    assert_eq!(Head::open("head", &path).expect("a head").width(), 2);
    write(&[("weight", &row), ("bias", &one), ("norm.weight", &row)]);
    let error = Head::open("head", &path)
        .expect_err("another kind")
        .to_string();
    assert!(error.contains("`norm.weight`"), "{error}");
}

/// The picture of a file, `[1, 3, height, width]` in 0..=1.
fn picture(path: &Path) -> Tensor {
    let image = image::open(path).expect("a picture").to_rgb8();
    let (width, height) = (image.width() as usize, image.height() as usize);
    Tensor::from_vec(image.into_raw(), (height, width, 3), &Device::Cpu)
        .and_then(|x| {
            x.permute((2, 0, 1))?
                .unsqueeze(0)?
                .to_dtype(candle_core::DType::F32)?
                / 255.0
        })
        .expect("a picture")
}

#[test]
fn taef2_gives_what_pytorch_gives() {
    let Some(folder) = shared("real/taef2") else {
        return;
    };
    let expected = picture(&folder.join("expected.png"));
    // as a folder, by its decoder and by its encoder
    for path in [
        folder.clone(),
        folder.join("taef2_decoder.pth"),
        folder.join("taef2_encoder.pth"),
    ] {
        let autoencoder = Autoencoder::open(&path, &Device::Cpu).expect("an autoencoder");
        assert_eq!((autoencoder.channels(), autoencoder.factor()), (32, 8));
        assert_eq!(autoencoder.warnings(), [""; 0]);
        let difference = autoencoder
            .encode(&picture(&folder.join("input.png")))
            .and_then(|z| autoencoder.decode(&z)?.clamp(0.0, 1.0))
            .and_then(|found| (found - &expected)?.abs()?.mean_all()?.to_scalar::<f32>())
            .expect("a picture");
        println!("{}: {} levels", path.display(), 255.0 * difference);
        assert!(
            255.0 * difference < 1.0,
            "{} levels off",
            255.0 * difference
        );
    }
}
