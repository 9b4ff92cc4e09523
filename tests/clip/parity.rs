//! Agreement with the reference libraries: transformers, open_clip and PyTorch, on small random models.
//!
//! The fixtures and the scripts that made them are in `tests/fixtures`.

use std::collections::HashMap;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use frozen::{Filter, Layer};
use generators::{BuildContext, Generator, OptimizerKind, Pyramid, pyramid};
use phantasia::clip::Clip;
use phantasia::objective::{Target, prompt_loss};
use phantasia::recipe::{Distance, Schedule, Select};

use crate::common::clips::{error, pixels, tensors};
use crate::common::fixture;

#[track_caller]
fn assert_close(what: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    let error = error(found, expected).expect("tensors");
    assert!(error < tolerance, "{what} is off by {error:e}");
}

fn clip_agrees(name: &str) -> Result<()> {
    let clip = Clip::from_folder(name, &fixture(name), &Device::Cpu)?;
    let reference = tensors(&format!("{name}/reference.safetensors"))?;
    let tower = &clip.towers()[0];
    let (x, std) = pixels(&reference["pixel_values"])?;
    let (embeddings, pullback) = tower.vjp(&x)?;
    assert_close(
        "image_embeds",
        &embeddings,
        &reference["image_embeds"],
        1e-5,
    );
    assert_close("eval", &tower.eval(&x)?, &reference["image_embeds"], 1e-5);

    let texts = std::fs::read_to_string(fixture(name).join("texts.txt"))?;
    let rows = texts
        .lines()
        .map(|text| Ok(clip.embed_text(text)?.vector))
        .collect::<Result<Vec<_>>>()?;
    let width = rows[0].len();
    let unit = Tensor::new(rows.clone(), &Device::Cpu)?;
    assert_close(
        "text_embeds_unit",
        &unit,
        &reference["text_embeds_unit"],
        1e-5,
    );

    let target = Target {
        vector: rows[0].clone(),
        weight: 1.0,
        stop: None,
    };
    for (distance, key) in [
        (Distance::Cosine, "cosine"),
        (Distance::Spherical, "spherical"),
    ] {
        let values = embeddings.flatten_all()?.to_vec1::<f32>()?;
        let found = prompt_loss(
            &values,
            width,
            std::slice::from_ref(&target),
            &[],
            distance,
            Select::All,
        );
        let loss = f64::from(reference[&format!("loss_{key}")].to_scalar::<f32>()?);
        assert!(
            (found.loss - loss).abs() < 1e-5 * loss.abs(),
            "{key} loss: {} {loss}",
            found.loss
        );
        let grads = Tensor::from_vec(found.grads, embeddings.shape(), &Device::Cpu)?;
        let grad = pullback(&grads)?.broadcast_mul(&std)?;
        assert_close(key, &grad, &reference[&format!("grad_{key}")], 1e-4);
    }
    Ok(())
}

#[test]
fn clip_in_the_hugging_face_layout_with_quick_gelu() -> Result<()> {
    clip_agrees("clip-hf-quick")
}

#[test]
fn clip_in_the_hugging_face_layout_with_gelu_and_odd_shapes() -> Result<()> {
    clip_agrees("clip-hf-gelu")
}

#[test]
fn clip_in_the_open_clip_layout() -> Result<()> {
    clip_agrees("clip-open-vit")
}

#[test]
fn clip_with_a_modified_resnet() -> Result<()> {
    clip_agrees("clip-open-resnet")
}

#[test]
fn weights_in_half_precision_are_read_as_f32() -> Result<()> {
    let name = "clip-hf-quick";
    let weights =
        candle_core::safetensors::load(fixture(name).join("model.safetensors"), &Device::Cpu)?;
    for dtype in [DType::F16, DType::BF16] {
        let folder = tempfile::tempdir()?;
        for file in ["config.json", "tokenizer.json"] {
            std::fs::copy(fixture(name).join(file), folder.path().join(file))?;
        }
        let cast = |(key, tensor): (&String, &Tensor)| Ok((key.clone(), tensor.to_dtype(dtype)?));
        let half = weights
            .iter()
            .map(cast)
            .collect::<Result<HashMap<_, _>>>()?;
        candle_core::safetensors::save(&half, folder.path().join("model.safetensors"))?;
        let clip = Clip::from_folder("half", folder.path(), &Device::Cpu)?;
        let reference = tensors(&format!("{name}/reference.safetensors"))?;
        let (x, _) = pixels(&reference["pixel_values"])?;
        let found = clip.towers()[0].eval(&x)?;
        assert_eq!(found.dtype(), DType::F32);
        let tolerance = if dtype == DType::F16 { 5e-3 } else { 5e-2 };
        assert_close(
            "image_embeds",
            &found,
            &reference["image_embeds"],
            tolerance,
        );
    }
    Ok(())
}

#[test]
fn the_embedded_text_tower_agrees_with_its_training() -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Reference {
        texts: Vec<String>,
        text_embeds: Vec<Vec<f32>>,
    }
    let json = std::fs::read_to_string(fixture("embedded-text.json"))?;
    let reference: Reference = serde_json::from_str(&json)?;
    let clip = Clip::embedded(&Device::Cpu)?;
    for (text, expected) in reference.texts.iter().zip(&reference.text_embeds) {
        let found = clip.embed_text(text)?.vector;
        // the file has five digits
        let cosine: f32 = found.iter().zip(expected).map(|(a, b)| a * b).sum();
        assert!((cosine - 1.0).abs() < 1e-3, "{text}: {cosine}");
    }
    Ok(())
}

fn pyramid(side: usize, config: &pyramid::Config) -> Result<Pyramid> {
    let context = BuildContext::new([side, side], 100, 0, &Device::Cpu);
    Ok(Pyramid::new(config, &context)?)
}

fn config(sides: Vec<usize>, lr: f64) -> pyramid::Config {
    pyramid::Config {
        sides: Some(pyramid::Sides::List(sides)),
        decay: 1.0,
        gain: 1.0,
        lr: Schedule::from(lr),
        normalize: false,
        ..pyramid::Config::default()
    }
}

#[test]
fn the_image_stack_follows_adam() -> Result<()> {
    let reference = tensors("guidance.safetensors")?;
    for (name, weight_decay) in [("adam", 0.0), ("adamw", 0.01)] {
        let config = pyramid::Config {
            squash: pyramid::Squash::Sigmoid,
            filter: Filter::Bilinear,
            optimizer: OptimizerKind::Adam,
            weight_decay,
            ..config(vec![4, 8, 16, 32], 0.1)
        };
        let mut stack = pyramid(37, &config)?;
        for (i, parameter) in stack.parameters().iter().enumerate() {
            parameter.set(&reference[&format!("stack.layer.{i}")])?;
        }
        assert_close("image", &stack.render()?, &reference["stack.image"], 1e-5);
        for step in 1..=3 {
            let image = stack.render()?;
            let grad = (image.detach() - &reference["stack.target"])?;
            stack.step(image, &grad)?;
            for (i, parameter) in stack.parameters().iter().enumerate() {
                let key = format!("stack.{name}.{step}.{i}");
                assert_close(&key, parameter.as_tensor(), &reference[&key], 1e-4);
            }
        }
        assert_close(
            name,
            &stack.render()?,
            &reference[&format!("stack.{name}.image")],
            1e-4,
        );
    }
    Ok(())
}

#[test]
fn direct_ascent_follows_plain_gradient_descent() -> Result<()> {
    let reference = tensors("guidance.safetensors")?;
    let config = pyramid::Config {
        noise: 0.0,
        squash: pyramid::Squash::Tanh,
        momentum: 0.0,
        ..config(vec![1, 2, 3, 5, 8, 13, 29], 0.2)
    };
    let mut ascent = pyramid(29, &config)?;
    for step in 1..=3 {
        let image = ascent.render()?;
        let grad = ((image.detach() - &reference["ascent.target"])? * 0.02)?;
        ascent.step(image, &grad)?;
        for (i, parameter) in ascent.parameters().iter().enumerate() {
            let key = format!("ascent.{step}.{i}");
            assert_close(&key, parameter.as_tensor(), &reference[&key], 1e-4);
        }
        let key = format!("ascent.{step}.image");
        assert_close(&key, &ascent.render()?, &reference[&key], 1e-5);
    }
    Ok(())
}
