//! Beside candle-transformers' CLIP: the same embeddings, and the gradient that it does not have.

use anyhow::Result;
use candle_core::{DType, Device, Var};
use candle_nn::VarBuilder;
use candle_transformers::models::clip::text_model::{Activation, ClipTextConfig};
use candle_transformers::models::clip::vision_model::ClipVisionConfig;
use candle_transformers::models::clip::{ClipConfig, ClipModel};
use frozen::Layer;
use phantasia::clip::Clip;

use crate::common::clips::pixels;
use crate::common::fixture;

/// The shapes of `tests/fixtures/clip-hf-quick`.
fn config() -> ClipConfig {
    ClipConfig {
        text_config: ClipTextConfig {
            vocab_size: 604,
            embed_dim: 24,
            activation: Activation::QuickGelu,
            intermediate_size: 96,
            max_position_embeddings: 16,
            pad_with: None,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            projection_dim: 16,
        },
        vision_config: ClipVisionConfig {
            embed_dim: 32,
            activation: Activation::QuickGelu,
            intermediate_size: 128,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            projection_dim: 16,
            num_channels: 3,
            image_size: 32,
            patch_size: 8,
        },
        logit_scale_init_value: 2.6592,
        image_size: 32,
    }
}

#[test]
fn candles_own_clip_agrees_in_value_and_has_no_image_gradient() -> Result<()> {
    let folder = fixture("clip-hf-quick");
    let device = Device::Cpu;
    let weights = candle_core::safetensors::load(folder.join("model.safetensors"), &device)?;
    let stock = ClipModel::new(
        VarBuilder::from_tensors(weights, DType::F32, &device),
        &config(),
    )?;
    let reference = candle_core::safetensors::load(folder.join("reference.safetensors"), &device)?;
    let normalised = Var::from_tensor(&reference["pixel_values"])?;
    let theirs = stock.get_image_features(normalised.as_tensor())?;

    let clip = Clip::from_folder("fixture", &folder, &device)?;
    let (pixels, _) = pixels(&normalised.as_detached_tensor())?;
    let pixels = Var::from_tensor(&pixels)?;
    let ours = clip.towers()[0].forward(pixels.as_tensor())?;

    let scale = theirs.abs()?.max_all()?.to_scalar::<f32>()?;
    let difference = (&theirs - &ours)?.abs()?.max_all()?.to_scalar::<f32>()?;
    assert!(difference < 1e-5 * scale, "{difference} of {scale}");

    // this is why `frozen` exists; should it change, candle's layers can be looked at again
    let stock_grads = theirs.sum_all()?.backward()?;
    let reached = match stock_grads.get(&normalised) {
        None => 0.0,
        Some(grad) => grad.abs()?.sum_all()?.to_scalar::<f32>()?,
    };
    let grads = ours.sum_all()?.backward()?;
    let grad = grads.get(&pixels).expect("a gradient of the image");
    let size = grad.abs()?.sum_all()?.to_scalar::<f32>()?;
    assert!(size > 0.0);
    assert!(
        reached < 1e-3 * size,
        "candle's CLIP has a gradient now: {reached} beside {size}"
    );
    Ok(())
}
