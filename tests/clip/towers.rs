//! Towers of other kinds than CLIP's own: agreement with open_clip and transformers, on both ways of computing.
//!
//! Models and references are in `tests/fixtures/timm`; see `tests/fixtures/make_timm.py`.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use candle_core::{Device, Tensor};
use frozen::Layer;
use phantasia::clip::config::ClipConfig;
use phantasia::clip::{Clip, LayerKind, Tap};
use phantasia::objective::{Target, prompt_loss};
use phantasia::recipe::{Distance, Select};
use serde_json::{Value, json};

use crate::common::clips::{error, tensors};
use crate::common::{self};

fn fixture(name: &str) -> PathBuf {
    common::fixture("timm").join(name)
}

/// Compares a model with what the reference library makes of the same weights.
fn agrees(name: &str) -> Result<()> {
    let clip = Clip::from_folder(name, &fixture(name), &Device::Cpu)?;
    assert_eq!(clip.warnings(), [""; 0], "{name}");
    let reference = tensors(&format!("timm/{name}/reference.safetensors"))?;
    let near = |what: &str, found: &Tensor, part: &str, most: f64| {
        let off = error(found, &reference[part])?;
        assert!(off < most, "{name}: {what} off by {off:e}");
        anyhow::Ok(())
    };
    let texts = fs::read_to_string(fixture(name).join("texts.txt"))?;
    let texts = (texts.lines())
        .map(|text| Ok(clip.embed_text(text)?.vector))
        .collect::<Result<Vec<_>>>()?;
    let unit = Tensor::new(texts.clone(), &Device::Cpu)?;
    near("texts are", &unit, "text_embeds_unit", 2e-5)?;

    let tower = &clip.towers()[0];
    let pixels = &reference["pixels"];
    let (seen, pullback) = tower.vjp(pixels)?;
    near("images are", &seen, "image_embeds", 2e-5)?;
    near(
        "images of eval are",
        &tower.eval(pixels)?,
        "image_embeds",
        2e-5,
    )?;

    let target = Target {
        vector: texts[0].clone(),
        weight: 1.0,
        stop: None,
    };
    let values = seen.flatten_all()?.to_vec1::<f32>()?;
    let found = prompt_loss(
        &values,
        texts[0].len(),
        std::slice::from_ref(&target),
        &[],
        Distance::Cosine,
        Select::All,
    );
    let grads = Tensor::from_vec(found.grads, seen.shape(), &Device::Cpu)?;
    near("the gradient is", &pullback(&grads)?, "grad_cosine", 1e-4)?;

    // the last layer with the embedding, whose gradients add up
    let (count, _) = tower.layers();
    let taps = [Tap::Layer(count - 1), Tap::Embedding];
    let (values, pullback) = tower.vjp_taps(pixels, &taps)?;
    near("the last block is", &values[0], "last_block", 2e-5)?;
    near("images with taps are", &values[1], "image_embeds", 2e-5)?;
    let sum = pullback(&[values[0].zeros_like()?, grads])?;
    near("the gradient with taps is", &sum, "grad_cosine", 1e-4)
}

fn agrees_on_both_paths(name: &str) -> Result<()> {
    agrees(name)?;
    // as a GPU computes it
    frozen::kernel::composed(|| agrees(name))
}

#[test]
fn siglip_agrees_with_open_clip() -> Result<()> {
    agrees_on_both_paths("ViT-SO400M-16-SigLIP-i18n-256")?;
    agrees_on_both_paths("ViT-B-16-SigLIP2")
}

#[test]
fn siglip_agrees_with_transformers() -> Result<()> {
    agrees_on_both_paths("siglip-transformers")
}

#[test]
fn the_perception_encoder_agrees_with_open_clip() -> Result<()> {
    agrees_on_both_paths("PE-Core-T-16-384")?;
    agrees_on_both_paths("PE-Core-bigG-14-448")
}

#[test]
fn eva_agrees_with_open_clip() -> Result<()> {
    agrees_on_both_paths("EVA01-g-14")?;
    agrees_on_both_paths("EVA02-B-16")?;
    agrees_on_both_paths("EVA02-E-14")
}

#[test]
fn mobileclip_s_transformers_agree_with_open_clip() -> Result<()> {
    agrees_on_both_paths("MobileCLIP-B")?;
    agrees_on_both_paths("MobileCLIP2-L-14")
}
