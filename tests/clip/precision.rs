//! CLIPs in f16 and bf16: what the processor makes of them, and the operations that GPUs use, tried on the processor.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use frozen::Layer;
use phantasia::clip::files::ClipFiles;
use phantasia::clip::{Clip, DTypePolicy};
use phantasia::objective::{Target, prompt_loss};
use phantasia::recipe::{Distance, Precision, Select};
use phantasia::session::Session;

use crate::common::clips::{error, pixels, tensors};
use crate::common::{fixture, parse};

fn load(name: &str, dtypes: DTypePolicy) -> Result<Clip> {
    let files = ClipFiles::in_folder(&fixture(name))?;
    Ok(Clip::from_files(name, &files, dtypes, &Device::Cpu)?)
}

/// The fixture's embeddings, and the gradient of 1 - cos to its first text with respect to its normalised pictures.
fn look(clip: &Clip, name: &str) -> Result<(Tensor, Tensor)> {
    let reference = tensors(&format!("{name}/reference.safetensors"))?;
    let (x, std) = pixels(&reference["pixel_values"])?;
    let (embeddings, back) = clip.towers()[0].vjp(&x)?;
    assert_eq!(embeddings.dtype(), DType::F32);
    let target = Target {
        vector: reference["text_embeds_unit"].get(0)?.to_vec1()?,
        weight: 1.0,
        stop: None,
    };
    let values = embeddings.flatten_all()?.to_vec1::<f32>()?;
    let width = embeddings.dim(1)?;
    let found = prompt_loss(
        &values,
        width,
        &[target],
        &[],
        Distance::Cosine,
        Select::All,
    );
    let grads = Tensor::from_vec(found.grads, embeddings.shape(), &Device::Cpu)?;
    Ok((embeddings, back(&grads)?.broadcast_mul(&std)?))
}

#[test]
fn the_processor_rounds_to_bf16_as_pytorch_does() -> Result<()> {
    let name = "clip-hf-quick";
    let dtypes = DTypePolicy::of(Precision::Bf16, &Device::Cpu);
    assert_eq!((dtypes.weights, dtypes.compute), (DType::BF16, DType::F32));
    let (embeddings, grad) = look(&load(name, dtypes)?, name)?;
    let expected = tensors("clip-bf16.safetensors")?;
    assert!(error(&embeddings, &expected["image_embeds"])? < 1e-5);
    assert!(error(&grad, &expected["grad"])? < 1e-4);
    // and that is another model than the unrounded one
    let (whole, _) = look(&load(name, DTypePolicy::F32)?, name)?;
    assert!(error(&embeddings, &whole)? > 1e-4);
    Ok(())
}

#[test]
fn computed_in_f16_a_clip_sees_and_guides_nearly_the_same() -> Result<()> {
    for name in [
        "clip-hf-quick",
        "clip-hf-gelu",
        "clip-open-vit",
        "clip-open-resnet",
    ] {
        let whole = load(name, DTypePolicy::F32)?;
        let (embeddings, grad) = look(&whole, name)?;
        // candle multiplies no bf16 matrices on the processor
        let half = DTypePolicy {
            weights: DType::F16,
            compute: DType::F16,
        };
        let clip = load(name, half)?;
        let (seen, pulled) = look(&clip, name)?;
        let off = error(&seen, &embeddings)?;
        assert!(off < 0.02, "{name}: {off}");
        let dot = |a: &Tensor, b: &Tensor| (a * b)?.sum_all()?.to_scalar::<f32>();
        let along = dot(&pulled, &grad)? / (dot(&pulled, &pulled)? * dot(&grad, &grad)?).sqrt();
        assert!(along > 0.999, "{name}: {along}");
        let text = |clip: &Clip| clip.embed_text("a red apple").map(|text| text.vector);
        let (a, b) = (text(&whole)?, text(&clip)?);
        let cosine: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
        assert!(cosine > 0.9999, "{name}: {cosine}");
    }
    Ok(())
}

#[test]
fn a_gradient_too_small_for_f16_is_not_lost() -> Result<()> {
    let half = DTypePolicy {
        weights: DType::F16,
        compute: DType::F16,
    };
    let clip = load("clip-open-vit", half)?;
    let x = Tensor::full(0.4f32, (1, 3, 32, 32), &Device::Cpu)?;
    let (y, back) = clip.towers()[0].vjp(&x)?;
    let grad = y.ones_like()?;
    let small = back(&(&grad * 2f64.powi(-40))?)?;
    assert!(error(&(small * 2f64.powi(40))?, &back(&grad)?)? < 1e-6);
    Ok(())
}

#[test]
fn a_recipe_says_the_precision_of_each_clip() -> Result<()> {
    let recipe = parse("prompts: a\nsize: 32x32\nclip: [{ precision: bf16 }, embedded]\n");
    assert_eq!(recipe.clip[0].precision, Precision::Bf16);
    assert_eq!(recipe.clip[1].precision, Precision::F32);
    assert_eq!(parse(&recipe.to_yaml().expect("YAML")), recipe);
    let mut session = Session::new(&recipe, &Device::Cpu)?;
    let warnings = session.take_warnings();
    assert!(
        warnings
            .iter()
            .any(|line| line.contains("`precision: bf16` rounds")),
        "{warnings:?}"
    );
    Ok(())
}
