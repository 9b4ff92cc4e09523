//! Guided diffusion from a recipe to a picture, on a small random model.

use std::fs;

use anyhow::Result;
use tempfile::TempDir;

use crate::common::ball::{self, lines, pixels, render, session, values};
use crate::common::program::{assert_refused, interrupt, program, run};
use crate::common::{generator_fixture, wait_for};

/// A folder with `model/`, and `ball.yaml` that names it.
fn folder(generator: &str) -> TempDir {
    let folder = ball::folder(&format!(
        "prompts: [a red ball]\nsize: [48, 32]\nsteps: 4\nseed: 7\ncutouts: {{ count: 2 }}\n\
         generator: {{ kind: diffusion, model: model, {generator} }}\n"
    ));
    let model = folder.path().join("model");
    fs::create_dir(&model).expect("a folder");
    for name in ["config.json", "diffusion_pytorch_model.safetensors"] {
        let from = generator_fixture("diffusion/ddpm").join(name);
        fs::copy(from, model.join(name)).expect("a copy");
    }
    folder
}

#[test]
fn a_recipe_becomes_a_picture_and_the_same_one_again() {
    let folder = folder("eta: 0.8");
    for _ in 0..2 {
        let output = render(&folder);
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && stdout.contains("\"steps\":4"),
            "{output:?}"
        );
    }
    let first = pixels(&folder, "ball-001");
    assert_eq!(first.len(), 48 * 32 * 3);
    assert_eq!(first, pixels(&folder, "ball-002"));
}

#[test]
fn prompts_bend_the_walk() {
    let picture = |generator: &str| {
        let folder = folder(generator);
        assert!(render(&folder).status.success());
        pixels(&folder, "ball-001")
    };
    let free = picture("scale: 0");
    assert_ne!(free, picture("guidance: through"));
    assert_ne!(free, picture("guidance: around"));
}

/// Distilled models are made for the noisiest level, which other spacings leave out.
#[test]
fn a_model_that_asks_for_trailing_levels_gets_them() {
    let picture = |generator: &str, scheduler: &str| {
        let folder = folder(generator);
        fs::write(folder.path().join("model/scheduler_config.json"), scheduler).expect("a file");
        assert!(render(&folder).status.success());
        pixels(&folder, "ball-001")
    };
    let asking = "{ \"timestep_spacing\": \"trailing\" }";
    let trailing = picture("spacing: trailing", "{}");
    assert_eq!(
        picture("scale: 0", asking),
        picture("scale: 0, spacing: trailing", "{}")
    );
    assert_eq!(
        picture("sampler: euler", asking),
        picture("sampler: euler, spacing: trailing", asking)
    );
    assert_ne!(picture("spacing: leading", asking), trailing);
}

#[test]
fn a_session_goes_on_exactly_where_it_was_saved() -> Result<()> {
    for generator in [
        "sampler: euler_ancestral, skip: 2",
        "sampler: dpmpp_2m, guidance: around",
    ] {
        let folder = folder(generator);
        let mut whole = session(&folder)?;
        while !whole.tick()?.finished {}
        let mut first = session(&folder)?;
        first.tick()?;
        first.tick()?;
        let mut second = session(&folder)?;
        second.load(first.save()?)?;
        assert!(!second.tick()?.finished && second.tick()?.finished);
        assert_eq!(
            values(&whole.image()?),
            values(&second.image()?),
            "{generator}"
        );
    }
    Ok(())
}

#[test]
fn skipped_levels_are_beside_the_steps() -> Result<()> {
    let folder = folder("skip: 50%");
    let mut session = session(&folder)?;
    let mut ticks = 0;
    loop {
        ticks += 1;
        if session.tick()?.finished {
            break;
        }
    }
    assert_eq!((ticks, session.steps()), (4, 4));
    Ok(())
}

#[test]
fn a_size_that_the_network_cannot_work_at_is_said() {
    let folder = folder("resolution: [30, 22]");
    let output = render(&folder);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(
        stderr.contains("cannot work at 30x22: it works at 32x24"),
        "{stderr}"
    );
    assert_eq!(pixels(&folder, "ball-001").len(), 48 * 32 * 3);
}

#[test]
fn a_model_of_another_kind_is_refused() {
    let folder = folder("scale: 1");
    let config = folder.path().join("model/config.json");
    fs::write(&config, r#"{ "_class_name": "AutoencoderKL" }"#).expect("a file");
    assert_refused(&render(&folder), 1, "is of the class `AutoencoderKL`");
}

#[test]
fn damaged_weights_are_refused() {
    let folder = folder("scale: 1");
    let weights = folder
        .path()
        .join("model/diffusion_pytorch_model.safetensors");
    let bytes = fs::read(&weights).expect("a file");
    fs::write(&weights, &bytes[..bytes.len() / 2]).expect("a file");
    assert_refused(&render(&folder), 1, "cannot load the diffusion model");
}

#[test]
fn a_model_that_is_not_here_tells_how_to_get_it() {
    let folder = folder("scale: 1");
    let output = run(
        folder.path(),
        &[
            "render",
            "ball.yaml",
            "--set",
            "generator.model=google/ddpm-cat-257",
        ],
    );
    assert_refused(&output, 1, "models fetch google/ddpm-cat-257");
}

#[cfg(unix)]
#[test]
fn an_interrupted_walk_is_resumed_to_the_same_bytes() {
    let steps = ["render", "ball.yaml", "--steps", "24"];
    let whole = folder("eta: 1");
    assert!(run(whole.path(), &steps).status.success());

    let folder = folder("eta: 1");
    let mut child = program(folder.path(), &steps)
        .arg("--quiet")
        .spawn()
        .expect("the program");
    let outputs = folder.path().join("outputs/ball-001");
    wait_for("step", || lines(&outputs) > 0);
    interrupt(&child);
    assert_eq!(child.wait().expect("the program").code(), Some(130));

    let output = run(folder.path(), &["resume", "outputs/ball-001"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(pixels(&whole, "ball-001"), pixels(&folder, "ball-001"));
}

/// The steps of a sampler are a walk over noise levels: it has no more of them after the last.
#[test]
fn a_complete_walk_cannot_be_extended_and_says_what_can_be_done() {
    let folder = folder("scale: 0");
    assert!(render(&folder).status.success());
    let before = pixels(&folder, "ball-001");
    for more in [["--steps", "8"], ["--prompt", "a leaf"]] {
        let output = run(
            folder.path(),
            &[&["resume", "outputs/ball-001"][..], &more].concat(),
        );
        assert_refused(&output, 1, "egin again from the picture");
    }
    assert_eq!(pixels(&folder, "ball-001"), before);
    let names = fs::read_dir(folder.path().join("outputs/ball-001")).expect("the run");
    assert!(
        names
            .flatten()
            .all(|entry| entry.file_name() != "image-0004.png")
    );
}
