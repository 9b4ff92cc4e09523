//! Painting in the latents of autoencoders, from a recipe to a picture: tiny networks of random weights.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use candle_core::{Device, Tensor};
use image::RgbImage;
use phantasia::recipe::Recipe;
use phantasia::run::{Run, RunFolder};
use phantasia::session::Session;
use tempfile::TempDir;

use crate::common::generator_fixture;

/// A folder with the network of that name (of the generators' fixtures) and a picture.
pub fn folder(name: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let text = fs::read_to_string(generator_fixture("autoencoders.json")).expect("the fixture");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let shapes: BTreeMap<String, Vec<usize>> =
        serde_json::from_value(json[name]["shapes"].clone()).expect("shapes");
    let weights: HashMap<String, Tensor> = (shapes.iter())
        .map(|(key, shape)| {
            let inputs: usize = shape.iter().skip(1).product();
            let scale = (2.0 / inputs as f32).sqrt();
            let seed: f32 = key.bytes().map(f32::from).sum();
            let count: usize = shape.iter().product();
            let values = (0..count).map(|i| match shape.len() {
                1 => f32::from(key.ends_with("weight")),
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
    if !json[name]["config"].is_null() {
        fs::write(model.join("config.json"), json[name]["config"].to_string()).expect("a file");
    }
    let picture = RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8 * 6, y as u8 * 8, 90]));
    picture
        .save(folder.path().join("init.png"))
        .expect("a picture");
    folder
}

fn recipe(folder: &TempDir, rest: &str) -> Result<Recipe> {
    let text = format!("prompts: [a red apple]\ncutouts: {{ count: 1 }}\n{rest}\n");
    Ok(Recipe::parse(&text, "r.yaml", folder.path())?)
}

fn session(folder: &TempDir, rest: &str) -> Result<Session> {
    Session::new(&recipe(folder, rest)?, &Device::Cpu)
}

fn values(session: &mut Session) -> Result<Vec<f32>> {
    Ok(session.image()?.flatten_all()?.to_vec1()?)
}

#[test]
fn a_render_of_no_steps_writes_the_reconstruction() -> Result<()> {
    let folder = folder("diffusers");
    let recipe = recipe(
        &folder,
        "size: [40, 30]\nsteps: 0\ninit: init.png\ngenerator: { kind: vqgan, model: ./model }",
    )?;
    let session = Session::new(&recipe, &Device::Cpu)?;
    let run = RunFolder::create(folder.path(), "none")?;
    let render = Run::new(session, run, &recipe)?;
    let outcome = render.complete(&AtomicBool::new(false), |_| panic!("there is no step"))?;
    assert_eq!((outcome.steps, outcome.interrupted), (0, false));
    let written = phantasia::picture::load_rgb(&outcome.image)?;
    let mut session = Session::new(&recipe, &Device::Cpu)?;
    let expected = phantasia::picture::from_tensor(&session.image()?)?;
    assert_eq!(written, expected);
    Ok(())
}

#[test]
fn a_size_that_latents_do_not_make_up_is_rounded_and_said() -> Result<()> {
    let folder = folder("amused");
    let mut session = session(
        &folder,
        "size: [41, 30]\nsteps: 1\ninit: init.png\ngenerator: { kind: vqgan, model: ./model }",
    )?;
    assert_eq!(session.image()?.dims(), [1, 3, 32, 40]);
    let warnings = session.take_warnings();
    assert!(
        warnings
            .iter()
            .any(|text| text.contains("40 x 32 instead of 41 x 30")),
        "{warnings:?}"
    );
    assert!(session.tick()?.finished);
    Ok(())
}

#[test]
fn every_kind_of_network_takes_steps() -> Result<()> {
    for (name, kind) in [
        ("diffusers", "vqgan"),
        ("taming", "vqgan"),
        ("taming", "latent"),
        ("kl", "latent"),
        ("tiny", "latent"),
    ] {
        let folder = folder(name);
        let mut session = session(
            &folder,
            &format!(
                "size: [32, 24]\nsteps: 3\ngenerator: {{ kind: {kind}, model: ./model, lr: 0.5 }}"
            ),
        )?;
        let before = values(&mut session)?;
        while !session.tick()?.finished {}
        assert_ne!(before, values(&mut session)?, "{kind} of {name}");
    }
    Ok(())
}

#[test]
fn the_embedded_vqgan_needs_no_files_and_keeps_colours() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for kind in ["vqgan", "latent"] {
        let generator = format!("generator: {{ kind: {kind}, model: embedded, lr: 0.5 }}");
        let rest = format!("size: [40, 24]\nsteps: 2\nseamless: true\n{generator}");
        let mut session = session(&folder, &rest)?;
        assert_eq!(session.take_warnings(), [""; 0]);
        let before = values(&mut session)?;
        while !session.tick()?.finished {}
        assert_ne!(before, values(&mut session)?, "{kind}");
    }
    for color in [[230, 30, 40], [30, 160, 60], [40, 60, 200], [240, 240, 240]] {
        let init = folder.path().join("init.png");
        RgbImage::from_pixel(64, 64, image::Rgb(color)).save(&init)?;
        let rest =
            "size: [64, 64]\nsteps: 0\ninit: init.png\ngenerator: { kind: vqgan, model: embedded }";
        let painted = session(&folder, rest)?.image()?.mean((2, 3))?;
        for (painted, expected) in painted.flatten_all()?.to_vec1::<f32>()?.iter().zip(color) {
            let expected = f32::from(expected) / 255.0;
            assert!((painted - expected).abs() < 0.15, "{color:?}: {painted}");
        }
    }
    Ok(())
}

#[test]
fn the_best_of_several_starts_says_each_warning_once() -> Result<()> {
    let folder = folder("taming");
    let rest = "size: [33, 24]\nsteps: 2\ngenerator: { kind: vqgan, model: ./model, starts: 3 }";
    let mut session = session(&folder, rest)?;
    let (warnings, notes) = (session.take_warnings(), session.take_notes());
    let rounded = warnings.iter().filter(|text| text.contains("instead of"));
    let chosen = notes.iter().filter(|text| text.contains("start"));
    assert_eq!((rounded.count(), chosen.count()), (1, 1), "{warnings:?}");
    while !session.tick()?.finished {}
    Ok(())
}

#[test]
fn a_chain_goes_on_from_the_pyramids_picture() -> Result<()> {
    let folder = folder("tiny");
    let mut session = session(
        &folder,
        "size: [32, 24]\ngenerator: [{ kind: pyramid, steps: 2 }, { kind: latent, model: ./model, steps: 2 }]",
    )?;
    while !session.tick()?.finished {}
    assert_eq!(session.step(), 4);
    Ok(())
}

#[test]
fn the_same_seed_starts_from_the_same_codes() -> Result<()> {
    let folder = folder("diffusers");
    let start = |seed: u64, start: &str| -> Result<Vec<f32>> {
        let rest = format!(
            "size: [32, 24]\nsteps: 1\nseed: {seed}\ngenerator: {{ kind: vqgan, model: ./model, start: {start} }}"
        );
        values(&mut session(&folder, &rest)?)
    };
    for kind in ["codes", "noise"] {
        assert_eq!(start(1, kind)?, start(1, kind)?);
        assert_ne!(start(1, kind)?, start(2, kind)?);
    }
    Ok(())
}

#[test]
fn tiles_paint_nearly_the_same_picture() -> Result<()> {
    let folder = folder("tiny");
    let picture = |tile: &str| -> Result<Vec<f32>> {
        let rest = format!(
            "size: [96, 64]\nsteps: 0\ninit: init.png\ngenerator: {{ kind: latent, model: ./model, tile: {tile} }}"
        );
        values(&mut session(&folder, &rest)?)
    };
    let (whole, tiled) = (picture("null")?, picture("48")?);
    let off = whole.iter().zip(&tiled).map(|(a, b)| (a - b).abs());
    let mean = off.sum::<f32>() / whole.len() as f32;
    assert!(mean > 0.0 && mean < 0.02, "{mean}");
    Ok(())
}

fn error(folder: &TempDir, rest: &str) -> String {
    match session(folder, rest) {
        Ok(_) => panic!("it was made"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    let folder = folder("tiny");
    for (rest, said) in [
        ("generator: { kind: vqgan, model: ./model }", "kind: latent"),
        (
            "generator: { kind: latent, model: none }",
            "there is no model `none`",
        ),
        (
            "generator: { kind: latent, model: nobody/nothing }",
            "models fetch nobody/nothing",
        ),
        (
            "generator: { kind: vqgan, model: vqgan-imagenet-f16-1024@none }",
            "or take `embedded`",
        ),
        (
            "generator: { kind: vqgan, model: embedded/resnet }",
            "a model of the kind `vqgan`",
        ),
        (
            "generator: { kind: diffusion, model: embedded/resnet }",
            "a model of the kind `diffusion`",
        ),
    ] {
        let error = error(&folder, rest);
        assert!(error.contains(said), "{rest}: {error}");
    }
}

#[test]
fn a_model_is_looked_for_beside_the_recipe() -> Result<()> {
    let folder = folder("tiny");
    let recipe = recipe(&folder, "generator: { kind: latent, model: model }")?;
    let files = recipe.files()?;
    assert_eq!(files[0].path, "generator.model");
    assert_eq!(Path::new(&files[0].name), folder.path().join("model"));
    Ok(())
}
