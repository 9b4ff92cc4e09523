//! Starts: the best of several random ones, and pictures that a render stays near.

use anyhow::{Context, Result};
use candle_core::Device;
use image::{GrayImage, Luma};
use phantasia::recipe::{Edit, Recipe, Restart};
use phantasia::session::{Session, SessionOptions};
use tempfile::TempDir;

const REST: &str = "prompts: [a red ball, { text: blurry, weight: -0.2 }]\nsize: [32, 32]\nsteps: 4\nseed: 7\n\
     cutouts: { count: 1 }\n";

fn recipe(folder: &TempDir, generator: &str) -> Result<Recipe> {
    let text = format!("{REST}{generator}\n");
    Ok(Recipe::parse(&text, "r.yaml", folder.path())?)
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn session(recipe: &Recipe) -> Result<Session> {
    Session::new(recipe, &Device::Cpu)
}

fn values(session: &mut Session) -> Result<Vec<f32>> {
    Ok(session.image()?.flatten_all()?.to_vec1()?)
}

/// What the session says of the choice of a start.
fn start_notes(session: &mut Session) -> Vec<String> {
    let mut notes = session.take_notes();
    notes.retain(|note| note.contains("is taken"));
    notes
}

fn painted(mut session: Session) -> Result<Vec<f32>> {
    while !session.tick()?.finished {}
    values(&mut session)
}

#[test]
fn the_first_step_sees_the_least_loss() -> Result<()> {
    let folder = folder();
    let mut first_losses = vec![];
    for starts in [1, 5] {
        let generator = format!("generator: {{ kind: fft, starts: {starts} }}");
        let mut session = session(&recipe(&folder, &generator)?)?;
        let notes = start_notes(&mut session);
        assert_eq!(notes.len(), usize::from(starts > 1));
        let loss = session.tick()?.loss;
        if let Some(note) = notes.first() {
            assert!(note.contains(&format!("its loss is {loss:.4}")), "{note}");
        }
        first_losses.push(loss);
    }
    assert!(first_losses[1] <= first_losses[0], "{first_losses:?}");
    Ok(())
}

#[test]
fn a_diffusion_model_chooses_among_samples_of_noise() -> Result<()> {
    let folder = folder();
    let of = |starts: usize| {
        let keys = format!("sampler: dpmpp_2m, scale: 0, cfg: 1, starts: {starts}");
        session(&recipe(
            &folder,
            &format!("generator: {{ kind: diffusion, {keys} }}"),
        )?)
    };
    let notes = start_notes(&mut of(4)?);
    assert!(
        notes.len() == 1 && notes[0].contains(" of 4 is taken"),
        "{notes:?}"
    );
    let is_first = notes[0].starts_with("start 1 ");
    assert_eq!(painted(of(4)?)? == painted(of(1)?)?, is_first);
    Ok(())
}

#[test]
fn one_start_is_what_there_was_without_the_key() -> Result<()> {
    let folder = folder();
    for kind in ["fft", "pixels", "pyramid"] {
        let one = recipe(
            &folder,
            &format!("generator: {{ kind: {kind}, starts: 1 }}"),
        )?;
        let none = recipe(&folder, &format!("generator: {{ kind: {kind} }}"))?;
        assert_eq!(
            painted(session(&one)?)?,
            painted(session(&none)?)?,
            "{kind}"
        );
    }
    Ok(())
}

#[test]
fn a_resumed_render_goes_on_from_the_chosen_start_and_does_not_choose_again() -> Result<()> {
    let folder = folder();
    // black on the left
    let mask = GrayImage::from_fn(8, 8, |x, _| Luma([if x < 4 { 0 } else { 255 }]));
    mask.save(folder.path().join("mask.png"))?;
    for (rest, chooses_again) in [("", false), ("mask: mask.png\n", true)] {
        let generator = format!("{rest}generator: {{ kind: pixels, starts: 4, noise: 0.2 }}");
        let recipe = recipe(&folder, &generator)?;
        let whole = painted(session(&recipe)?)?;
        let mut stopped = session(&recipe)?;
        for _ in 0..2 {
            stopped.tick()?;
        }
        let options = SessionOptions::default();
        let mut resumed = Session::resume(&recipe, &Device::Cpu, &options, stopped.save()?)?;
        // behind a mask the start shows to the end
        assert_eq!(
            start_notes(&mut resumed).is_empty(),
            !chooses_again,
            "{rest}"
        );
        assert!(painted(resumed)? == whole, "{rest}");
    }
    Ok(())
}

#[test]
fn a_restart_from_scratch_chooses_again_and_other_edits_do_not() -> Result<()> {
    let folder = folder();
    let recipe = recipe(&folder, "generator: { kind: fft, starts: 3 }")?;
    let mut session = session(&recipe)?;
    assert_eq!(start_notes(&mut session).len(), 1);
    session.tick()?;
    session.edit(Edit::with(|edit| edit.steps = Some(9)))?;
    assert_eq!(start_notes(&mut session).len(), 0);
    session.edit(Edit::with(|edit| edit.restart = Some(Restart::Scratch)))?;
    assert_eq!(start_notes(&mut session).len(), 1);
    session.undo(0, None)?.context("there is an edit")?;
    assert_eq!(start_notes(&mut session).len(), 0);
    assert_eq!(session.take_warnings(), [""; 0]);
    session.edit(Edit::with(|edit| edit.restart = Some(Restart::Image)))?;
    let warnings = session.take_warnings();
    assert!(
        warnings[0].contains("the start is a picture"),
        "{warnings:?}"
    );
    Ok(())
}

/// A stage of pixels, and one that is held to what it painted.
const CHAIN: &str = "generator: [{ kind: pixels, noise: 0.2 }, { kind: pixels, steps: 6, lr: 0.2 }]\nsize: [24, 24]";

#[test]
fn a_stage_stays_near_the_picture_of_the_one_before_also_where_it_is_resumed() -> Result<()> {
    let folder = folder();
    let chain = |weight: f64| -> Result<Recipe> {
        let text = format!(
            "{}{CHAIN}\nterms: {{ init: {{ weight: {weight}, resolution: 12 }} }}\n",
            REST.replace("size: [32, 32]\n", "")
        );
        Ok(Recipe::parse(&text, "r.yaml", folder.path())?)
    };
    let distance =
        |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum() };
    let mut apart = vec![];
    for weight in [0.0, 50.0] {
        let recipe = chain(weight)?;
        let mut stopped = session(&recipe)?;
        for _ in 0..4 {
            stopped.tick()?;
        }
        let first = values(&mut stopped)?;
        for _ in 0..3 {
            stopped.tick()?;
        }
        let options = SessionOptions::default();
        let resumed = Session::resume(&recipe, &Device::Cpu, &options, stopped.save()?)?;
        let whole = painted(session(&recipe)?)?;
        assert!(painted(resumed)? == whole, "{weight}");
        apart.push(distance(&first, &whole));
    }
    assert!(apart[1] < 0.5 * apart[0], "{apart:?}");
    Ok(())
}

/// Stages of other sizes leave it as it is, and a resumed render shows the same.
#[test]
fn what_a_mask_keeps_is_not_blurred_by_small_stages() -> Result<()> {
    let folder = folder();
    let mask = GrayImage::from_fn(32, 32, |x, _| Luma([if x < 16 { 0 } else { 255 }]));
    mask.save(folder.path().join("mask.png"))?;
    let start = GrayImage::from_fn(32, 32, |x, y| {
        Luma([if (x + y) % 2 == 0 { 50 } else { 200 }])
    });
    start.save(folder.path().join("start.png"))?;
    let stages = "{ kind: pixels }, { kind: pixels, size: [8, 8] }, { kind: pixels }";
    let text = format!("init: start.png\nmask: mask.png\ngenerator: [{stages}]");
    let recipe = recipe(&folder, &text)?;
    let mut stopped = session(&recipe)?;
    for _ in 0..10 {
        stopped.tick()?;
    }
    let options = SessionOptions::default();
    let resumed = Session::resume(&recipe, &Device::Cpu, &options, stopped.save()?)?;
    let whole = painted(session(&recipe)?)?;
    assert!(painted(resumed)? == whole);
    for (y, row) in whole.chunks(32).take(32).enumerate() {
        for (x, value) in row.iter().take(16).enumerate() {
            let expected = f32::from(start.get_pixel(x as u32, y as u32).0[0]) / 255.0;
            assert!(
                (value - expected).abs() < 1e-5,
                "{x} {y}: {value} {expected}"
            );
        }
    }
    Ok(())
}

#[test]
fn nothing_is_kept_near_a_start_that_there_is_not() -> Result<()> {
    let folder = folder();
    let refused = recipe(&folder, "terms: { init: 1 }").expect_err("no picture to start from");
    assert!(format!("{refused:#}").contains("terms.init: there is no picture to stay near"));
    recipe(&folder, "terms: { init: 0 }")?;
    // a later restart gives one
    recipe(
        &folder,
        "terms: { init: 1 }\ntimeline: [{ step: 2, restart: image }]",
    )?;
    Ok(())
}
