//! CLIPs whose image tower is a convolutional network of timm, against open_clip: small random models that
//! `tests/fixtures/make_convnets.py` made.

use std::collections::HashMap;

use anyhow::Result;
use candle_core::{Device, Tensor};
use frozen::Layer;
use frozen::kernel::composed;
use phantasia::clip::files::ClipFiles;
use phantasia::clip::{Clip, DTypePolicy, LayerKind, Tap, Tower};

use crate::common::clips::{error, load, load_error, pixels, tensors};
use crate::common::{copies, fixture};

/// A model of the fixtures as a folder of open_clip's.
fn folder(name: &str) -> tempfile::TempDir {
    let file = |kind: &str| fixture(&format!("convnets/{name}.{kind}"));
    copies(&[
        (file("json"), "open_clip_config.json"),
        (file("safetensors"), "open_clip_model.safetensors"),
        (fixture("clip-open-vit/tokenizer.json"), "tokenizer.json"),
    ])
}

#[track_caller]
fn close(what: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    let error = error(found, expected).expect("tensors of one shape");
    assert!(error < tolerance, "{what} is off by {error:e}");
}

fn unit(x: &Tensor) -> candle_core::Result<Tensor> {
    x.broadcast_div(&x.sqr()?.sum_keepdim(1)?.sqrt()?)
}

/// Embeddings, cosines, the image's gradient and the stages' values.
fn agrees(name: &str, clip: &Clip) -> Result<()> {
    let reference = tensors(&format!("convnets/{name}.reference.safetensors"))?;
    let tower = &clip.towers()[0];
    let (x, std) = pixels(&reference["pixel_values"])?;
    let (count, kind) = tower.layers();
    let transformer = name.starts_with("vitamin");
    assert_eq!(kind == LayerKind::Block, transformer);
    let taps = (0..count).map(Tap::Layer).chain([Tap::Embedding]);
    let (values, pullback) = tower.vjp_taps(&x, &taps.collect::<Vec<_>>())?;
    for (stage, value) in values[..count].iter().enumerate() {
        close(
            "a stage",
            value,
            &reference[&format!("stage.{stage}")],
            1e-5,
        );
    }
    let image = &values[count];
    close("the embedding", image, &reference["image_embeds"], 1e-5);

    let texts = std::fs::read_to_string(fixture("clip-open-vit/texts.txt"))?;
    let texts = texts.lines().map(|text| Ok(clip.embed_text(text)?.vector));
    let texts = Tensor::new(texts.collect::<Result<Vec<_>>>()?, x.device())?;
    let expected = unit(&reference["text_embeds"])?;
    close("the texts", &texts, &expected, 1e-5);
    let cosines = unit(image)?.matmul(&texts.t()?)?;
    let difference = (&cosines - &reference["cosines"])?.abs()?.max_all()?;
    assert!(difference.to_scalar::<f32>()? < 1e-5, "cosines: {cosines}");

    // the gradient of 1 - cosine, through the embedding alone
    let length = image.sqr()?.sum_all()?.sqrt()?.to_scalar::<f32>()?;
    let text = expected.narrow(0, 0, 1)?;
    let cosine = cosines.narrow(1, 0, 1)?;
    let along = (unit(image)?.broadcast_mul(&cosine)? - text)?;
    let along = (along / f64::from(length))?;
    let mut grads = values[..count]
        .iter()
        .map(Tensor::zeros_like)
        .collect::<candle_core::Result<Vec<_>>>()?;
    grads.push(along);
    let grad = pullback(&grads)?.broadcast_mul(&std)?;
    close("the gradient", &grad, &reference["grad_cosine"], 1e-4);
    let (_, alone) = tower.vjp_taps(&x, &[Tap::Embedding])?;
    let grad = alone(&grads[count..])?.broadcast_mul(&std)?;
    close("the gradient", &grad, &reference["grad_cosine"], 1e-4);
    Ok(())
}

/// On the kernels of the CPU, and composed as on a GPU.
fn agrees_both_ways(name: &str) -> Result<()> {
    let clip = load(folder(name).path());
    agrees(name, &clip)?;
    composed(|| agrees(name, &clip))
}

#[test]
fn a_convnext_with_a_linear_projection() -> Result<()> {
    agrees_both_ways("convnext-linear")
}

#[test]
fn a_convnext_with_an_mlp_as_projection() -> Result<()> {
    agrees_both_ways("convnext-mlp")
}

#[test]
fn a_fastvit_with_excitation_and_batch_norms() -> Result<()> {
    agrees_both_ways("fastvit-norms")
}

#[test]
fn a_fastvit_with_five_stages_and_layer_norms() -> Result<()> {
    agrees_both_ways("fastvit-layers")
}

#[test]
fn a_vitamin() -> Result<()> {
    agrees_both_ways("vitamin")
}

#[test]
fn a_vitamin_without_positions() -> Result<()> {
    agrees_both_ways("vitamin-xlarge")
}

/// Images of a size that the stages' strides do not divide were compared above; of one that leaves no pixel nothing is seen.
#[test]
fn an_image_size_too_small_for_the_stages_is_refused() -> Result<()> {
    let folder = folder("convnext-linear");
    let path = folder.path().join("open_clip_config.json");
    let config = std::fs::read_to_string(&path)?.replace(": 36", ": 24");
    std::fs::write(&path, config)?;
    let error = load_error(folder.path());
    assert!(error.contains("24"), "{error}");
    Ok(())
}

#[test]
fn an_empty_pooling_without_a_projection_is_refused() -> Result<()> {
    let folder = folder("convnext-linear");
    let path = folder.path().join("open_clip_config.json");
    let config = std::fs::read_to_string(&path)?.replace("\"linear\"", "null");
    std::fs::write(&path, config)?;
    let error = load_error(folder.path());
    assert!(error.contains("timm_pool"), "{error}");
    Ok(())
}

/// Sizes are read from the tensors: whatever they are, they fit together or the file is refused.
#[test]
fn tensors_of_other_shapes_are_refused() -> Result<()> {
    for name in [
        "convnext-linear",
        "fastvit-norms",
        "fastvit-layers",
        "vitamin",
    ] {
        let folder = folder(name);
        let path = folder.path().join("open_clip_model.safetensors");
        let tensors = candle_core::safetensors::load(&path, &Device::Cpu)?;
        let mut keys: Vec<_> = tensors.keys().filter(|key| key.contains("trunk")).collect();
        keys.sort();
        let read = |tensors: &HashMap<String, Tensor>| -> Result<(), String> {
            candle_core::safetensors::save(tensors, &path).expect("a file");
            let files = ClipFiles::in_folder(folder.path()).map_err(|error| error.to_string())?;
            let (checkpoint, config) = files.open().map_err(|error| error.to_string())?;
            Tower::build("tiny", &config, &checkpoint, DTypePolicy::F32, &Device::Cpu)
                .map(|_| ())
                .map_err(|error| error.to_string())
        };
        for key in keys.into_iter().step_by(11) {
            let tensor = &tensors[key];
            let longer = Tensor::cat(&[tensor, &tensor.narrow(0, 0, 1)?], 0)?;
            for other in [tensor.unsqueeze(0)?, longer, tensor.narrow(0, 0, 0)?] {
                let mut changed = tensors.clone();
                changed.insert(key.clone(), other.clone());
                let error = read(&changed);
                assert!(error.is_err(), "{name}: {key} was {:?}", other.shape());
            }
        }
    }
    Ok(())
}

/// Style and content compare what stages make of pictures: their gradients join the embedding's.
#[test]
fn gradients_of_stages_join_those_of_the_embedding() -> Result<()> {
    for name in ["convnext-mlp", "fastvit-norms", "vitamin"] {
        let clip = load(folder(name).path());
        let tower = &clip.towers()[0];
        let reference = tensors(&format!("convnets/{name}.reference.safetensors"))?;
        let (x, _) = pixels(&reference["pixel_values"])?;
        let taps = [Tap::Layer(0), Tap::Embedding];
        let run = || -> Result<_> {
            let (values, pullback) = tower.vjp_taps(&x, &taps)?;
            Ok(pullback(&[values[0].clone(), values[1].clone()])?)
        };
        let together = run()?;
        let (value, pullback) = tower.vjp_taps(&x, &taps[..1])?;
        let stage = pullback(&value)?;
        let (value, pullback) = tower.vjp(&x)?;
        let sum = (stage + pullback(&value)?)?;
        close("the sum", &together, &sum, 1e-5);
        close("the composed sum", &composed(run)?, &sum, 1e-5);
    }
    Ok(())
}
