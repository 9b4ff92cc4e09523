//! Stable Diffusion and noise optimisation from a recipe to a picture, on a small random pipeline.

use std::fs;
use std::path::Path;

use anyhow::Result;
use candle_core::Tensor;
use tempfile::TempDir;

use crate::common::ball::{self, pixels, render, session, values};
use crate::common::generator_fixture;
use crate::common::program::assert_refused;

/// A folder with `ball.yaml`, whose generator begins with the kind.
fn folder(generator: &str) -> TempDir {
    ball::folder(&format!(
        "prompts: [a red ball]\nsize: [32, 16]\nsteps: 3\nseed: 7\ncutouts: {{ count: 2 }}\ngenerator: {generator}\n"
    ))
}

/// The kind with the small pipeline, and more keys.
fn with_model(kind: &str, keys: &str) -> TempDir {
    let model = generator_fixture("stable/sd1");
    folder(&format!(
        "{{ kind: {kind}, model: '{}', {keys} }}",
        model.display()
    ))
}

/// The pixels of the picture of a folder's first run.
fn painted(folder: &TempDir) -> Vec<u8> {
    let output = render(folder);
    assert!(output.status.success(), "{output:?}");
    pixels(folder, "ball-001")
}

#[test]
fn a_recipe_becomes_a_picture_and_the_same_one_again() {
    for kind in ["diffusion", "noise"] {
        let first = painted(&with_model(kind, ""));
        assert_eq!(first.len(), 32 * 16 * 3);
        assert_eq!(first, painted(&with_model(kind, "")), "{kind}");
    }
}

#[test]
fn texts_and_prompts_bend_the_walk() {
    let free = "scale: 0";
    let plain = painted(&with_model("diffusion", free));
    // the recipe's prompt is what is looked at where nothing else is said
    for (keys, same) in [
        ("scale: 0, prompt: a red ball", true),
        ("scale: 0, prompt: a blue cube", false),
        ("scale: 0, negative_prompt: a blue cube", false),
        ("scale: 0, cfg: 1", false),
        ("scale: 5000, guidance: around", false),
        ("scale: 5000, guidance: through", false),
    ] {
        let other = painted(&with_model("diffusion", keys));
        assert_eq!(plain == other, same, "{keys}");
    }
}

#[test]
fn a_session_goes_on_exactly_where_it_was_saved() -> Result<()> {
    for (kind, keys) in [
        ("diffusion", "sampler: dpmpp_2m, guidance: around"),
        ("diffusion", "sampler: euler_ancestral"),
        ("noise", "momentum: 0.8"),
    ] {
        let folder = with_model(kind, keys);
        let mut whole = session(&folder)?;
        while !whole.tick()?.finished {}
        let mut first = session(&folder)?;
        first.tick()?;
        let mut second = session(&folder)?;
        second.load(first.save()?)?;
        while !second.tick()?.finished {}
        assert_eq!(values(&whole.image()?), values(&second.image()?), "{keys}");
    }
    Ok(())
}

#[test]
fn noise_optimisation_ends_with_the_picture_of_the_least_loss() -> Result<()> {
    let mut session = session(&with_model("noise", "lr: 500"))?;
    let mut best: Option<(f64, Tensor)> = None;
    loop {
        let tick = session.tick()?;
        if best.as_ref().is_none_or(|(loss, _)| tick.loss < *loss) {
            best = Some((tick.loss, tick.image.clone()));
        }
        if tick.finished {
            break;
        }
    }
    let (_, image) = best.expect("a step");
    assert_eq!(values(&session.image()?), values(&image));
    Ok(())
}

#[test]
fn an_earlier_picture_is_painted_over() -> Result<()> {
    let painted_over = |noise: f64| -> Result<Vec<f32>> {
        let chain = format!(
            "[{{ kind: pyramid, steps: 1, noise: {noise} }}, {{ kind: diffusion, model: '{}', steps: 2, scale: 0 }}]",
            generator_fixture("stable/sd1").display()
        );
        let mut session = session(&folder(&chain))?;
        while !session.tick()?.finished {}
        Ok(values(&session.image()?))
    };
    // the walk's own noise is the same: what differs is what it starts from
    assert_eq!(painted_over(0.0)?, painted_over(0.0)?);
    assert_ne!(painted_over(0.0)?, painted_over(1.0)?);
    Ok(())
}

#[test]
fn another_autoencoder_takes_the_place_of_its_own() {
    let vae = generator_fixture("stable/sd2/vae");
    let keys = format!("scale: 0, vae: '{}'", vae.display());
    assert_eq!(painted(&with_model("diffusion", &keys)).len(), 32 * 16 * 3);
    let keys = "vae: ./nothing";
    assert_refused(&render(&with_model("diffusion", keys)), 2, "generator.vae");
}

#[test]
fn a_text_that_is_too_long_is_said() {
    let keys = format!("scale: 0, prompt: '{}'", "red ball ".repeat(60));
    let output = render(&with_model("diffusion", &keys));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(
        stderr.contains("does not read all of its prompt"),
        "{stderr}"
    );
}

#[test]
fn an_unconditional_model_is_told_no_text() {
    let model = generator_fixture("diffusion/ddpm");
    let with = |keys: &str| folder(&format!("{{ model: '{}', {keys} }}", model.display()));
    let output = render(&with("kind: diffusion, cfg: 3"));
    assert_refused(&output, 1, "leave `cfg` out");
    let output = render(&with("kind: noise"));
    assert_refused(&output, 1, "which needs many steps");
}

#[test]
fn a_pipeline_without_a_part_names_it() {
    let folder = ball::folder(
        "prompts: [a red ball]\nsteps: 1\ngenerator: { kind: diffusion, model: model }\n",
    );
    for name in ["unet", "vae"] {
        let to = folder.path().join("model").join(name);
        fs::create_dir_all(&to).expect("a folder");
        for file in ["config.json", "diffusion_pytorch_model.safetensors"] {
            let from = generator_fixture("stable/sd1").join(name).join(file);
            fs::copy(from, to.join(file)).expect("a copy");
        }
    }
    assert_refused(&render(&folder), 1, "text_encoder/config.json");
}

/// The pipeline that is part of the program, as diffusers would save it.
fn embedded_pipeline(folder: &Path) {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates");
    let weights = "diffusion_pytorch_model.safetensors";
    for (part, source, files) in [
        (
            "unet",
            "embedded-diffusion/src",
            &["config.json", weights][..],
        ),
        (
            "scheduler",
            "embedded-diffusion/src",
            &["scheduler_config.json"],
        ),
        ("vae", "embedded-vqgan/src", &["config.json", weights]),
        (
            "text_encoder",
            "clip/src/embedded",
            &["config.json", "model.safetensors"],
        ),
        ("tokenizer", "clip/src/embedded", &["tokenizer.json"]),
    ] {
        fs::create_dir_all(folder.join(part)).expect("a folder");
        for file in files {
            let source = crates.join(source).join(file);
            fs::copy(source, folder.join(part).join(file)).expect("a copy");
        }
    }
}

#[test]
fn the_embedded_model_is_what_its_files_are() -> Result<()> {
    let painted = |model: &str, keys: &str| -> Result<Vec<f32>> {
        let folder = folder(&format!("{{ kind: diffusion, model: {model}, {keys} }}"));
        if model != "embedded" {
            embedded_pipeline(&folder.path().join(model));
        }
        let mut session = session(&folder)?;
        assert_eq!(session.take_warnings(), [""; 0]);
        while !session.tick()?.finished {}
        Ok(values(&session.image()?))
    };
    let embedded = painted("embedded", "scale: 100")?;
    assert_eq!(
        embedded,
        painted("model", "scale: 100, cfg: 3, resolution: [192, 96]")?
    );
    assert_ne!(embedded, painted("embedded", "scale: 100, prompt: a tree")?);
    Ok(())
}

#[test]
fn what_the_embedded_model_does_not_do_is_refused() {
    for (generator, part) in [
        ("{ kind: noise, model: embedded }", "which needs many steps"),
        (
            "{ kind: diffusion, model: embedded, vae: embedded }",
            "leave `vae` out",
        ),
    ] {
        let error = session(&folder(generator)).err().expect("refused");
        assert!(
            format!("{error:#}").contains(part),
            "{generator}: {error:#}"
        );
    }
}
