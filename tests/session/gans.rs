//! Painting in the latents of a GAN, from a recipe to a picture: a tiny network of random weights.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use anyhow::Result;
use candle_core::{Device, Tensor};
use phantasia::recipe::Recipe;
use phantasia::session::{Session, SessionOptions};
use tempfile::TempDir;

use crate::common::generator_fixture;

/// A folder with the community's lightweight-gan of the generators' fixtures, which paints 32 x 32 pixels.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let text = fs::read_to_string(generator_fixture("small_gans.json")).expect("the fixture");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let shapes: BTreeMap<String, Vec<usize>> =
        serde_json::from_value(json["community"].clone()).expect("shapes");
    let weights: HashMap<String, Tensor> = (shapes.iter())
        .map(|(key, shape)| {
            let inputs: usize = shape.iter().skip(1).product();
            let scale = (2.0 / inputs as f32).sqrt();
            let seed: f32 = key.bytes().map(f32::from).sum();
            let count: usize = shape.iter().product();
            let values = (0..count).map(|i| match shape.len() {
                1 => f32::from(!key.ends_with("bias") && !key.ends_with("mean")),
                _ => scale * (seed + 1.7 * i as f32).sin(),
            });
            let values: Vec<f32> = values.collect();
            let tensor = Tensor::from_vec(values, shape.as_slice(), &Device::Cpu);
            (key.clone(), tensor.expect("a tensor"))
        })
        .collect();
    let model = folder.path().join("model");
    fs::create_dir(&model).expect("a folder");
    candle_core::safetensors::save(&weights, model.join("model.safetensors")).expect("weights");
    folder
}

fn recipe(folder: &TempDir, generator: &str) -> Result<Recipe> {
    let text = format!(
        "prompts: [a red ball]\nsize: [32, 32]\nsteps: 4\nseed: 7\ncutouts: {{ count: 1 }}\ngenerator: {generator}\n"
    );
    Ok(Recipe::parse(&text, "r.yaml", folder.path())?)
}

fn painted(mut session: Session) -> Result<Vec<f32>> {
    while !session.tick()?.finished {}
    Ok(session.image()?.flatten_all()?.to_vec1()?)
}

#[test]
fn a_resumed_render_is_the_same_and_so_is_a_second_one() -> Result<()> {
    let folder = folder();
    let generator = "{ kind: gan, model: ./model, starts: 3, latent_noise: \"0.1 * (1 - t)\" }";
    let recipe = recipe(&folder, generator)?;
    let mut session = Session::new(&recipe, &Device::Cpu)?;
    let notes = session.take_notes();
    assert!(
        notes.iter().any(|note| note.contains("of 3 is taken")),
        "{notes:?}"
    );
    let whole = painted(session)?;
    assert!(painted(Session::new(&recipe, &Device::Cpu)?)? == whole);
    let mut stopped = Session::new(&recipe, &Device::Cpu)?;
    for _ in 0..2 {
        stopped.tick()?;
    }
    let options = SessionOptions::default();
    let resumed = Session::resume(&recipe, &Device::Cpu, &options, stopped.save()?)?;
    assert!(painted(resumed)? == whole);
    Ok(())
}

#[test]
fn a_chain_goes_to_the_models_size_and_on() -> Result<()> {
    let folder = folder();
    let recipe = recipe(
        &folder,
        "[{ kind: pyramid, steps: 1, size: [24, 16] }, { kind: gan, model: ./model, steps: 2, size: [40, 40], starts: 2, inversion: 3 }, \
         { kind: pixels, steps: 1, size: [20, 20] }]",
    )?;
    let mut session = Session::new(&recipe, &Device::Cpu)?;
    let mut sizes = vec![];
    while !session.tick()?.finished {
        sizes.push(session.image()?.dims()[2]);
    }
    assert!(sizes.contains(&32), "{sizes:?}");
    assert_eq!(session.image()?.dims(), [1, 3, 20, 20]);
    let warnings = session.take_warnings();
    let size = "the picture of stage 2 is 32 x 32 instead of 40 x 40";
    assert!(
        warnings.iter().any(|text| text.contains(size)),
        "{warnings:?}"
    );
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let notes = session.take_notes();
    let error = "the latents show the image to start from";
    assert!(notes.iter().any(|text| text.contains(error)), "{notes:?}");
    Ok(())
}

#[test]
fn symmetry_and_blocks_are_of_the_models_picture() -> Result<()> {
    let folder = folder();
    let generator = "{ kind: gan, model: ./model, starts: 2 }\nsymmetry: { mirror: x }";
    let recipe = recipe(&folder, generator)?;
    let mut session = Session::new(&recipe, &Device::Cpu)?;
    session.tick()?;
    let image = session.image()?;
    let off = (image.flip(&[3])? - &image)?
        .abs()?
        .max_all()?
        .to_scalar::<f32>()?;
    assert!(off < 1e-5, "{off}");
    Ok(())
}

#[test]
fn the_embedded_gan_needs_no_files() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let generator = "[{ kind: gan, model: embedded, steps: 2, starts: 2, size: [64, 64] }, { kind: pixels, steps: 1 }]";
    let mut session = Session::new(&recipe(&folder, generator)?, &Device::Cpu)?;
    assert_eq!(session.take_warnings(), [""; 0]);
    let start = session.image()?;
    session.tick()?;
    assert_ne!(
        start.flatten_all()?.to_vec1::<f32>()?,
        session.image()?.flatten_all()?.to_vec1::<f32>()?
    );
    while !session.tick()?.finished {}
    assert_eq!(session.image()?.dims(), [1, 3, 32, 32]);
    Ok(())
}

#[test]
fn what_a_gan_does_not_paint_is_refused() -> Result<()> {
    let folder = folder();
    for (generator, part) in [
        ("{ kind: gan, model: ./model }\nseamless: true", "seamless"),
        (
            "{ kind: gan, model: ./model, space: w+ }",
            "`space` is a setting of",
        ),
        (
            "{ kind: gan, model: ./model, truncation: 0 }",
            "`truncation`",
        ),
        (
            "{ kind: gan, model: fastgan-painting@none }",
            "models fetch",
        ),
        ("{ kind: gan, model: embedded/resnet }", "of the kind `gan`"),
        ("{ kind: gan, model: embedded, class: [1] }", "`class`"),
    ] {
        let session =
            recipe(&folder, generator).and_then(|recipe| Session::new(&recipe, &Device::Cpu));
        let error = session
            .err()
            .map(|error| format!("{error:#}"))
            .unwrap_or_default();
        assert!(error.contains(part), "{generator}: {error}");
    }
    Ok(())
}
