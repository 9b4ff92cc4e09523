//! Text towers other than CLIP's own: those from transformers, and CoCa with its image tower. What open_clip computes is in
//! `tests/fixtures/text-towers`; see `tests/fixtures/make_text_towers.py`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use anyhow::Result;
use candle_core::{Device, Tensor};
use frozen::Layer;
use phantasia::clip::{Clip, LongText};
use phantasia::objective::{Target, prompt_loss};
use phantasia::recipe::{Distance, Select};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::clips::{error, load_error, pixels};
use crate::common::{copies, fixture};

/// The values of a tensor, as the script computes them: a hash of each index and the checksum of the name.
fn values(name: &str, shape: &[usize]) -> Vec<f32> {
    let mut crc = crc32fast::Hasher::new();
    crc.update(name.as_bytes());
    let start = crc.finalize();
    let inputs: usize = shape.iter().skip(1).product();
    let value = |index: usize| {
        let mut x = start.wrapping_add(index as u32);
        for (shift, factor) in [(16, 0x7FEB_352D), (15, 0x846C_A68B)] {
            x = (x ^ (x >> shift)).wrapping_mul(factor);
        }
        x ^= x >> 16;
        let v = (f64::from(x) / 2f64.powi(32) * 2.0 - 1.0) * 3f64.sqrt();
        let value = match shape.len() {
            0 => 2.5,
            1 if name.ends_with("weight") => 1.0 + 0.2 * v,
            1 => 0.1 * v,
            _ => v * (1.5 / (inputs as f64).sqrt()),
        };
        value as f32
    };
    (0..shape.iter().product()).map(value).collect()
}

/// The folder of a model with a tokenizer from other fixtures; `change` may change its tensors.
fn model(
    name: &str,
    tokenizer: &str,
    change: impl Fn(&mut HashMap<String, Tensor>),
) -> Result<TempDir> {
    let own = fixture("text-towers").join(name);
    let config = "open_clip_config.json";
    let settings = fixture(tokenizer).join("tokenizer_config.json");
    let mut files = vec![
        (own.join(config), config),
        (fixture(tokenizer).join("tokenizer.json"), "tokenizer.json"),
    ];
    if settings.exists() {
        files.push((settings, "tokenizer_config.json"));
    }
    let folder = copies(&files);
    let shapes = fs::read_to_string(own.join("shapes.json"))?;
    let shapes: BTreeMap<String, Vec<usize>> = serde_json::from_str(&shapes)?;
    let mut tensors = HashMap::new();
    for (key, shape) in shapes {
        let tensor = Tensor::from_vec(values(&key, &shape), shape.as_slice(), &Device::Cpu)?;
        tensors.insert(key, tensor);
    }
    change(&mut tensors);
    let path = folder.path().join("open_clip_model.safetensors");
    candle_core::safetensors::save(&tensors, path)?;
    Ok(folder)
}

fn reference(name: &str) -> Result<HashMap<String, Tensor>> {
    let path = fixture("text-towers")
        .join(name)
        .join("reference.safetensors");
    Ok(candle_core::safetensors::load(path, &Device::Cpu)?)
}

/// Texts have the embeddings of open_clip.
fn texts_agree(clip: &Clip, name: &str) -> Result<Vec<f32>> {
    let texts = fs::read_to_string(fixture("text-towers").join(name).join("texts.txt"))?;
    let texts = (texts.lines())
        .map(|text| Ok(clip.embed_text(text)?.vector))
        .collect::<Result<Vec<_>>>()?;
    let expected = &reference(name)?["text_embeds_unit"];
    let off = error(&Tensor::new(texts.clone(), &Device::Cpu)?, expected)?;
    assert!(off < 2e-5, "{name}: texts are off by {off:e}");
    Ok(texts[0].clone())
}

#[test]
fn towers_from_transformers_agree_with_open_clip() -> Result<()> {
    for name in ["roberta", "xlm-roberta", "nllb"] {
        let folder = model(name, &format!("tokenizers/{name}"), |_| {})?;
        let clip = Clip::from_folder(name, folder.path(), &Device::Cpu)?;
        assert_eq!(clip.warnings(), [""; 0]);
        texts_agree(&clip, name)?;
        frozen::kernel::composed(|| texts_agree(&clip, name))?;
        let long = clip.embed_long_text(&"a red boat ".repeat(30), LongText::Average)?;
        assert!(long.vector.iter().all(|value| value.is_finite()));
    }
    Ok(())
}

#[test]
fn a_text_tower_from_transformers_goes_with_an_image_tower_from_timm() -> Result<()> {
    // as in nllb-clip-large-siglip
    let siglip = fixture("timm/ViT-SO400M-16-SigLIP-i18n-256");
    let load = |name: &str| candle_core::safetensors::load(siglip.join(name), &Device::Cpu);
    let image = load("open_clip_model.safetensors")?;
    let proj = "text.proj.weight";
    let folder = model("nllb", "tokenizers/nllb", |tensors| {
        tensors.retain(|key, _| key.starts_with("text.") && key != proj);
        let own = (image.iter()).filter(|(key, _)| !key.starts_with("text."));
        tensors.extend(own.map(|(key, tensor)| (key.clone(), tensor.clone())));
        let values = Tensor::from_vec(values(proj, &[16, 128]), (16, 128), &Device::Cpu);
        tensors.insert(proj.to_owned(), values.expect("a tensor"));
    })?;
    let read = |path: &Path| -> Result<Value> { Ok(serde_json::from_slice(&fs::read(path)?)?) };
    let path = folder.path().join("open_clip_config.json");
    let text = read(&path)?["model_cfg"]["text_cfg"].clone();
    let mut config = read(&siglip.join("open_clip_config.json"))?;
    config["model_cfg"]["text_cfg"] = text;
    fs::write(&path, config.to_string())?;
    let clip = Clip::from_folder("both", folder.path(), &Device::Cpu)?;
    assert_eq!(clip.warnings(), [""; 0]);
    assert!(clip.logit_bias().is_some());
    assert_eq!(clip.embed_text("a red boat")?.vector.len(), 16);
    let reference = load("reference.safetensors")?;
    let seen = clip.towers()[0].eval(&reference["pixels"])?;
    let off = error(&seen, &reference["image_embeds"])?;
    assert!(off < 2e-5, "images are off by {off:e}");
    Ok(())
}

#[test]
fn a_broken_tower_from_transformers_is_refused_in_words() -> Result<()> {
    let roberta = |change: &dyn Fn(&mut HashMap<String, Tensor>)| {
        let folder = model("roberta", "tokenizers/roberta", change)?;
        Ok::<_, anyhow::Error>(load_error(folder.path()))
    };
    let table = "text.transformer.embeddings.word_embeddings.weight";
    let told = roberta(&|tensors| drop(tensors.remove(table)))?;
    assert!(told.contains(table), "{told}");
    let told = roberta(&|tensors| {
        let flat = tensors[table].flatten_all().expect("a tensor");
        tensors.insert(table.to_owned(), flat);
    })?;
    assert!(told.contains(table), "{told}");
    let told = roberta(&|tensors| {
        tensors.retain(|key, _| !key.starts_with("text.transformer.encoder.layer.0."));
    })?;
    assert!(told.contains("text.transformer.encoder.layer.0."), "{told}");
    let more = "text.transformer.pooler.dense.weight";
    let told = roberta(&|tensors| {
        let one = tensors["logit_scale"].clone();
        tensors.insert(more.to_owned(), one);
    })?;
    assert!(told.contains(more), "{told}");
    // without its configuration the weights say what they are
    let folder = model("nllb", "tokenizers/nllb", |_| {})?;
    fs::remove_file(folder.path().join("open_clip_config.json"))?;
    let told = load_error(folder.path());
    assert!(told.contains("text tower is from transformers"), "{told}");
    let folder = model("coca", "clip-open-vit", |_| {})?;
    fs::remove_file(folder.path().join("open_clip_config.json"))?;
    let told = load_error(folder.path());
    assert!(
        told.contains("a CoCa (`text_decoder.`), which needs"),
        "{told}"
    );
    Ok(())
}

/// Texts, pictures and the gradient of the pictures agree with open_clip.
fn coca_agrees(clip: &Clip) -> Result<()> {
    let text = texts_agree(clip, "coca")?;
    let reference = reference("coca")?;
    let (pixels, std) = pixels(&reference["pixel_values"])?;
    let tower = &clip.towers()[0];
    let (seen, pullback) = tower.vjp(&pixels)?;
    let off = error(&seen, &reference["image_embeds"])?;
    assert!(off < 2e-5, "images are off by {off:e}");
    let off = error(&tower.eval(&pixels)?, &seen)?;
    assert!(off < 1e-5, "eval and vjp differ by {off:e}");
    let (values, width) = (seen.flatten_all()?.to_vec1::<f32>()?, text.len());
    let target = Target {
        vector: text,
        weight: 1.0,
        stop: None,
    };
    let targets = std::slice::from_ref(&target);
    let found = prompt_loss(&values, width, targets, &[], Distance::Cosine, Select::All);
    let grad = pullback(&Tensor::from_vec(found.grads, seen.shape(), &Device::Cpu)?)?;
    let off = error(&grad.broadcast_mul(&std)?, &reference["grad_cosine"])?;
    assert!(off < 1e-4, "the gradient is off by {off:e}");
    Ok(())
}

#[test]
fn coca_agrees_with_open_clip() -> Result<()> {
    let folder = model("coca", "clip-open-vit", |_| {})?;
    let clip = Clip::from_folder("coca", folder.path(), &Device::Cpu)?;
    assert_eq!(clip.warnings(), [""; 0]);
    coca_agrees(&clip)?;
    // as a GPU computes it
    frozen::kernel::composed(|| coca_agrees(&clip))
}

/// A configuration with another value of `text_cfg`, in a model's folder.
fn with(folder: &Path, key: &str, value: Value) -> Result<String> {
    let path = folder.join("open_clip_config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    config["model_cfg"]["text_cfg"][key] = value;
    fs::write(&path, config.to_string())?;
    Ok(load_error(folder))
}

#[test]
fn keys_of_these_towers_that_are_not_built_are_refused_by_name() -> Result<()> {
    for (name, tokenizer, key, value, words) in [
        (
            "roberta",
            "tokenizers/roberta",
            "hf_pooler_type",
            json!("cls_pooler"),
            "hf_pooler_type",
        ),
        (
            "roberta",
            "tokenizers/roberta",
            "hf_pooler_type",
            json!("max_pooler"),
            "max_pooler",
        ),
        (
            "nllb",
            "tokenizers/nllb",
            "hf_proj_type",
            json!("conv"),
            "hf_proj_type",
        ),
        (
            "roberta",
            "tokenizers/roberta",
            "hf_proj_type",
            Value::Null,
            "128 wide and has no projection",
        ),
        (
            "coca",
            "clip-open-vit",
            "no_causal_mask",
            json!(true),
            "embed_cls",
        ),
        (
            "coca",
            "clip-open-vit",
            "proj_type",
            json!("none"),
            "embed_cls",
        ),
    ] {
        let told = with(model(name, tokenizer, |_| {})?.path(), key, value)?;
        assert!(told.contains(words), "{key}: {told}");
    }
    Ok(())
}
