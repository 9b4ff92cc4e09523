//! Pictures that repeat without a seam, and symmetric ones, by every kind of generator that makes them.

use std::fs;

use anyhow::Result;
use candle_core::{Device, Tensor};
use phantasia::recipe::Recipe;
use phantasia::session::Session;
use tempfile::TempDir;

use super::autoencoders;
use crate::common::ball::{folder, values};
use crate::common::generator_fixture;
use crate::common::program::{assert_refused, run, text};

/// The largest ratio of the difference across the seam to that of neighbours inside.
const SEAM: f64 = 1.3;
/// The least standard deviation of the picture in levels: no flat field.
const LEVELS: f64 = 15.0;

fn paint(folder: &TempDir, recipe: &str) -> Result<Tensor> {
    let recipe = Recipe::parse(recipe, "r.yaml", folder.path())?;
    let mut session = Session::new(&recipe, &Device::Cpu)?;
    while !session.tick()?.finished {}
    session.image()
}

fn mean_difference(a: &Tensor, b: &Tensor) -> Result<f64> {
    let mean = (a - b)?.abs()?.mean_all()?;
    Ok(f64::from(mean.to_scalar::<f32>()?))
}

/// The mean absolute difference across the seam along a dimension, as a multiple of that between neighbours inside, at multiples of `every`.
fn seam(image: &Tensor, dim: usize, every: usize) -> Result<f64> {
    let size = image.dim(dim)?;
    let across = |i: usize| {
        let before = image.narrow(dim, (i + size - 1) % size, 1)?;
        mean_difference(&image.narrow(dim, i, 1)?, &before)
    };
    let inside = (1..size).filter(|i| i.is_multiple_of(every));
    let inside = inside.map(across).collect::<Result<Vec<_>>>()?;
    Ok(across(0)? * inside.len() as f64 / inside.iter().sum::<f64>())
}

/// The mean over several pictures of [`seam`] along both axes: that of a single picture depends on what happens to lie there.
fn mean_seam(images: &[Tensor], every: usize) -> Result<f64> {
    let ratios = images
        .iter()
        .flat_map(|image| [seam(image, 2, every), seam(image, 3, every)]);
    let ratios = ratios.collect::<Result<Vec<_>>>()?;
    Ok(ratios.iter().sum::<f64>() / ratios.len() as f64)
}

fn deviation(image: &Tensor) -> Result<f64> {
    let off = image.broadcast_sub(&image.mean_all()?)?;
    Ok(f64::from(off.sqr()?.mean_all()?.sqrt()?.to_scalar::<f32>()?) * 255.0)
}

#[track_caller]
fn assert_seamless(what: &str, images: &[Tensor], every: usize) {
    let ratio = mean_seam(images, every).expect("a ratio");
    for image in images {
        let levels = deviation(image).expect("a deviation");
        println!("{what}: seam {ratio:.2}, levels {levels:.1}");
        assert!(levels > LEVELS, "{what}: {levels}");
    }
    assert!(ratio < SEAM, "{what}: {ratio}");
}

/// The kinds that need no model, and a text that they paint in a minute of no effort.
const OPTIMISED: [&str; 6] = [
    "{ kind: pyramid }",
    "{ kind: pyramid, sides: all, gain: 1.0, noise: 0.0, squash: tanh }",
    "{ kind: fft }",
    "{ kind: pixels }",
    "{ kind: pixels, palette: 5, noise: 0.2 }",
    "{ kind: cellular, iterations: [4, 8] }",
];

#[test]
fn kinds_without_a_model_paint_no_seam() -> Result<()> {
    let none = tempfile::tempdir()?;
    for generator in OPTIMISED {
        let picture = |seed: usize| {
            let recipe = format!(
                "prompts: [a pattern of autumn leaves]\nsize: [32, 32]\nsteps: 30\nseed: {seed}\nseamless: true\n\
                 clip: embedded/transformer\nterms: {{ contrast: 0.2 }}\ngenerator: {generator}\n"
            );
            paint(&none, &recipe)
        };
        assert_seamless(generator, &[picture(1)?, picture(2)?], 1);
    }
    Ok(())
}

#[test]
fn autoencoders_paint_no_seam() -> Result<()> {
    for (name, kind) in [
        ("diffusers", "vqgan"),
        ("taming", "vqgan"),
        ("kl", "latent"),
        ("tiny", "latent"),
    ] {
        let folder = autoencoders::folder(name);
        for tile in ["null", "16"] {
            let generator = format!("{{ kind: {kind}, model: ./model, lr: 0.3, tile: {tile} }}");
            let recipe = format!(
                "prompts: [a red apple]\nsize: [64, 64]\nsteps: 12\nseamless: true\ncutouts: {{ count: 1 }}\n\
                 clip: embedded/transformer\ngenerator: {generator}\n"
            );
            let what = format!("{generator} of {name}");
            // random weights make edges between latents, and the picture's edge is one of these
            assert_seamless(&what, &[paint(&folder, &recipe)?], 8);
        }
    }
    Ok(())
}

#[test]
fn diffusion_models_paint_no_seam() -> Result<()> {
    let none = tempfile::tempdir()?;
    for (kind, model) in [
        ("diffusion", "diffusion/ddpm"),
        ("diffusion", "stable/sd1"),
        ("noise", "stable/sd1"),
    ] {
        let model = generator_fixture(model);
        for size in ["", ", resolution: [48, 48]"] {
            let generator = format!("{{ kind: {kind}, model: '{}'{size} }}", model.display());
            let recipe = format!(
                "prompts: [a red ball]\nsize: [64, 64]\nsteps: 4\nseed: 7\nseamless: true\ncutouts: {{ count: 1 }}\n\
                 generator: {generator}\n"
            );
            assert_seamless(&generator, &[paint(&none, &recipe)?], 1);
        }
    }
    Ok(())
}

#[test]
fn one_axis_alone_repeats_where_one_is_asked_for() -> Result<()> {
    let none = tempfile::tempdir()?;
    let picture = |seamless: &str| {
        let recipe = format!(
            "prompts: [sunset over the sea]\nsize: [64, 48]\nsteps: 40\nseed: 2\nseamless: {seamless}\n"
        );
        paint(&none, &recipe)
    };
    for (seamless, dim, other) in [("x", 3, 2), ("y", 2, 3)] {
        let image = picture(seamless)?;
        let (ratio, edge) = (seam(&image, dim, 1)?, seam(&image, other, 1)?);
        println!("{seamless}: {ratio} {edge}");
        assert!(
            ratio < 2.0 && edge > 2.0 * ratio,
            "{seamless}: {ratio} {edge}"
        );
        assert!(deviation(&image)? > LEVELS);
    }
    Ok(())
}

#[test]
fn a_picture_to_start_from_and_a_chain_leave_no_seam() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ramp = image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8 * 6, y as u8 * 8, 90]));
    ramp.save(folder.path().join("init.png"))?;
    for generator in [
        "pyramid",
        "[{ kind: pyramid, size: [32, 32] }, { kind: pixels, size: [64, 64] }, { kind: pyramid, size: [64, 48] }]",
    ] {
        let recipe = format!(
            "prompts: [a pattern of autumn leaves]\nsize: [48, 48]\nsteps: 8\nseed: 2\nseamless: true\ninit: init.png\n\
             generator: {generator}\n"
        );
        assert_seamless(generator, &[paint(&folder, &recipe)?], 1);
    }
    Ok(())
}

#[test]
fn without_the_keys_nothing_changes() -> Result<()> {
    let none = tempfile::tempdir()?;
    let plain = "prompts: [a red ball]\nsize: [32, 24]\nsteps: 3\n";
    let same = format!("{plain}seamless: false\n");
    let (a, b) = (paint(&none, plain)?, paint(&none, &same)?);
    assert_eq!(values(&a), values(&b));
    let parse = |text: &str| Recipe::parse(text, "r.yaml", none.path());
    let written = parse(&same)?.to_yaml()?;
    assert_eq!(written, parse(plain)?.to_yaml()?);
    Ok(())
}

#[test]
fn symmetric_pictures_equal_their_copies() -> Result<()> {
    let none = tempfile::tempdir()?;
    let equal = |a: &Tensor, b: &Tensor| values(a) == values(b);
    for generator in ["pyramid", "fft", "pixels"] {
        let picture = |rest: &str| {
            let recipe = format!(
                "prompts: [a rose window]\nsteps: 20\nseed: 2\nclip: embedded/transformer\ngenerator: {generator}\n{rest}\n"
            );
            paint(&none, &recipe)
        };
        let x = picture("size: [48, 32]\nsymmetry: { mirror: x }")?;
        assert!(equal(&x, &x.flip(&[3])?) && !equal(&x, &x.flip(&[2])?));
        assert!(deviation(&x)? > LEVELS, "{generator}");
        let both = picture("size: [48, 32]\nseamless: true\nsymmetry: { mirror: both }")?;
        assert!(equal(&both, &both.flip(&[3])?) && equal(&both, &both.flip(&[2])?));
        assert_seamless(generator, &[both], 1);
        let half = picture("size: [48, 32]\nsymmetry: { rotate: 2 }")?;
        assert!(equal(&half, &half.flip(&[2, 3])?) && !equal(&half, &half.flip(&[3])?));
        let six = picture("size: [48, 48]\nsymmetry: { rotate: 6, mirror: x }")?;
        assert!(equal(&six, &six.flip(&[3])?) && equal(&six, &six.flip(&[2, 3])?));
        assert!(deviation(&six)? > LEVELS, "{generator}");
    }
    let folder = autoencoders::folder("tiny");
    let recipe = "prompts: [a red apple]\nsize: [32, 32]\nsteps: 3\ncutouts: { count: 1 }\n\
                  symmetry: { rotate: 4 }\ngenerator: { kind: latent, model: ./model, lr: 0.5 }\n";
    let four = paint(&folder, recipe)?;
    assert!(equal(
        &four,
        &four.transpose(2, 3)?.contiguous()?.flip(&[3])?
    ));
    Ok(())
}

/// A mask keeps what is behind it as it is; the rest of the picture is symmetric.
#[test]
fn a_mask_lies_over_the_symmetric_picture() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mask = image::GrayImage::from_fn(32, 24, |x, _| image::Luma([if x < 8 { 0 } else { 255 }]));
    mask.save(folder.path().join("mask.png"))?;
    let ramp = image::RgbImage::from_fn(32, 24, |x, y| image::Rgb([x as u8 * 6, y as u8 * 8, 90]));
    ramp.save(folder.path().join("init.png"))?;
    let recipe = "prompts: [a red ball]\nsize: [32, 24]\nsteps: 5\ninit: init.png\nmask: mask.png\n\
                  symmetry: { mirror: x }\n";
    let image = paint(&folder, recipe)?;
    let init = phantasia::picture::load_tensor(&folder.path().join("init.png"), &Device::Cpu)?;
    let kept = |x: &Tensor| x.narrow(3, 0, 7);
    assert!(mean_difference(&kept(&image)?, &kept(&init)?)? < 1e-6);
    let inner = image.narrow(3, 9, 14)?.contiguous()?;
    assert!(mean_difference(&inner, &inner.flip(&[3])?)? < 1e-6);
    Ok(())
}

const KALEIDOSCOPE: &str = "prompts: [a red ball]\nsize: [32, 32]\nsteps: 8\nseed: 7\ncutouts: { count: 1 }\n\
                            output: { checkpoint: 3 }\n";

#[test]
fn a_session_goes_on_exactly_where_it_was_saved() -> Result<()> {
    let none = tempfile::tempdir()?;
    for rest in [
        "seamless: true\nsymmetry: { mirror: both }",
        "symmetry: { rotate: 3, mirror: y }\ngenerator: fft",
        "seamless: x\ngenerator: [{ kind: pyramid, steps: 4, size: [24, 24] }, { kind: pixels, steps: 4 }]",
    ] {
        let recipe = Recipe::parse(&format!("{KALEIDOSCOPE}{rest}\n"), "r.yaml", none.path())?;
        let new = || Session::new(&recipe, &Device::Cpu);
        let mut whole = new()?;
        let mut saved = None;
        while !whole.tick()?.finished {
            if whole.step() == 5 {
                saved = Some(whole.save()?);
            }
        }
        let mut resumed = new()?;
        resumed.load(saved.expect("a state"))?;
        while !resumed.tick()?.finished {}
        assert_eq!(values(&whole.image()?), values(&resumed.image()?), "{rest}");
    }
    Ok(())
}

#[test]
fn a_run_cannot_be_resumed_with_another_seam_or_symmetry() {
    let folder = folder(&format!(
        "{KALEIDOSCOPE}seamless: x\nsymmetry: {{ mirror: x }}\n"
    ));
    let output = run(folder.path(), &["render", "ball.yaml", "--device", "cpu"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let path = folder.path().join("outputs/ball-001/recipe.yaml");
    let recipe = fs::read_to_string(&path).expect("a recipe");
    for (from, to, refused) in [
        (
            "seamless: x",
            "seamless: true",
            "seamless: it is true here, and \"x\" in",
        ),
        ("seamless: x\n", "", "seamless: it is false here"),
        (
            "mirror: x",
            "mirror: y",
            "symmetry.mirror: it is \"y\" here",
        ),
        ("rotate: null", "rotate: 2", "symmetry.rotate: it is 2 here"),
    ] {
        assert!(recipe.contains(from), "{recipe}");
        fs::write(&path, recipe.replace(from, to)).expect("a file");
        let output = run(
            folder.path(),
            &[
                "resume",
                "outputs/ball-001",
                "--device",
                "cpu",
                "--steps",
                "12",
            ],
        );
        assert_refused(&output, 2, refused);
    }
}
