//! Aesthetic heads: agreement with PyTorch, the term's gradient, and the program's scores.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use phantasia::aesthetic::Head;
use phantasia::clip::Clip;
use phantasia::objective::Term;
use phantasia::objective::cutouts::CutoutSampler;
use phantasia::objective::terms::aesthetic::AestheticTerm;
use phantasia::recipe::{Augment, Schedule, augment, cutouts};
use phantasia_core::{Seamless, StepContext};
use tempfile::TempDir;

use crate::common::clips::{pixels, tensors};
use crate::common::fixture;
use crate::common::program;
use crate::common::program::{assert_refused, json, run, text};

const CLIP: &str = "clip-hf-quick";

fn clip() -> Result<Clip> {
    Ok(Clip::from_folder("tiny", &fixture(CLIP), &Device::Cpu)?)
}

fn head(name: &str) -> Head {
    Head::open(name, &fixture("aesthetic").join(format!("{name}.pth"))).expect("a head")
}

/// The pictures of the fixture, 0..=1, and the factor between the gradients of these and of normalised ones.
fn pictures() -> Result<(Tensor, Tensor)> {
    pixels(&tensors(&format!("{CLIP}/reference.safetensors"))?["pixel_values"])
}

/// So many views, all of the whole picture as it is.
fn whole(count: usize) -> cutouts::Config {
    cutouts::Config {
        count: Some(Schedule::from(count as f64)),
        overview: Schedule::from(count as f64),
        augment: vec![],
        ..cutouts::Config::default()
    }
}

fn term(name: &str, cutouts: cutouts::Config, memory: usize) -> Result<AestheticTerm> {
    let sampler = CutoutSampler {
        config: cutouts,
        seed: 3,
        seamless: Seamless::No,
        memory,
    };
    let (head, clip) = (Arc::new(head(name)), Arc::new(clip()?));
    Ok(AestheticTerm::new(head, clip, 1.0.into(), sampler))
}

fn largest(x: &Tensor) -> Result<f64> {
    Ok(f64::from(x.abs()?.max_all()?.to_scalar::<f32>()?))
}

#[test]
fn scores_and_gradients_agree_with_pytorch() -> Result<()> {
    let reference = tensors("aesthetic/reference.safetensors")?;
    let (pictures, std) = pictures()?;
    for name in ["mlp", "linear"] {
        let head = head(name);
        let clip = clip()?;
        let scores = reference[&format!("scores_{name}")].to_vec1::<f32>()?;
        let units = clip.towers()[0].embed_images(&pictures)?;
        let mut term = term(name, whole(1), usize::MAX)?;
        for (index, expected) in scores.iter().enumerate() {
            let expected = f64::from(*expected);
            assert!(
                (head.score(&units[index]) - expected).abs() < 1e-5,
                "{name} {index}"
            );
            let picture = pictures.narrow(0, index, 1)?;
            let found = term.evaluate(&picture, StepContext::new(0, 1))?;
            assert!(
                (found.loss - (1.0 - expected / 10.0)).abs() < 1e-6,
                "{}",
                found.loss
            );
            assert!((found.parts["aesthetic/score"] - expected).abs() < 1e-5);
            let grad = found.grad.broadcast_mul(&std)?;
            let wanted = reference[&format!("grad_{name}")].narrow(0, index, 1)?;
            let error = largest(&(grad - &wanted)?)? / largest(&wanted)?;
            assert!(
                error < 1e-4,
                "{name} {index}: the gradient is off by {error:e}"
            );
        }
    }
    Ok(())
}

#[test]
fn the_gradient_through_cutouts_matches_finite_differences() -> Result<()> {
    let cutouts = cutouts::Config {
        count: Some(Schedule::from(5.0)),
        sampler: Some(cutouts::Sampler::Stratified),
        coherence: Some(Schedule::from(0.7)),
        augment: vec![Augment::Flip(augment::flip::Config::default())],
        ..cutouts::Config::default()
    };
    let image = Tensor::arange(0f32, (3 * 44 * 36) as f32, &Device::Cpu)?;
    let image = image
        .affine(0.37, 0.0)?
        .sin()?
        .affine(0.3, 0.5)?
        .reshape((1, 3, 44, 36))?;
    let mut term_of_all = term("mlp", cutouts.clone(), usize::MAX)?;
    let at = StepContext::new(4, 10);
    let whole = term_of_all.evaluate(&image, at)?;
    let length = whole.grad.sqr()?.sum_all()?.sqrt()?.to_scalar::<f32>()?;
    let along = (&whole.grad / f64::from(length))?;
    let step = 0.05;
    let mut loss =
        |h: f64| -> Result<f64> { Ok(term_of_all.evaluate(&(&image + (&along * h)?)?, at)?.loss) };
    let slope = (loss(step)? - loss(-step)?) / (2.0 * step);
    let error = (slope - f64::from(length)).abs() / f64::from(length);
    assert!(error < 5e-3, "{slope} {length}");
    // one view at a time is the same
    let mut small = term("mlp", cutouts, 1)?;
    let found = small.evaluate(&image, at)?;
    assert!((found.loss - whole.loss).abs() < 1e-6);
    assert!(largest(&(found.grad - &whole.grad)?)? < 1e-5 * largest(&whole.grad)?);
    Ok(())
}

#[test]
fn a_head_with_rectifiers_and_what_is_no_head_are_refused() {
    for (file, words) in [
        ("aesthetic/relu.pth", "such as a rectifier"),
        (
            "clip-open-vit/open_clip_model.safetensors",
            "layers.0.weight",
        ),
    ] {
        let error = Head::open("head", &fixture(file))
            .expect_err("refused")
            .to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn layers_that_do_not_fit_each_other_are_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("head.safetensors");
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu);
    let tensors = HashMap::from([
        ("layers.0.weight", zeros(&[8, 16])?),
        ("layers.0.bias", zeros(&[8])?),
        ("layers.1.weight", zeros(&[1, 9])?),
        ("layers.1.bias", zeros(&[1])?),
    ]);
    candle_core::safetensors::save(&tensors, &path)?;
    let error = Head::open("head", &path).expect_err("refused").to_string();
    assert!(
        error.contains("`layers.0.weight`") && error.contains("9 numbers"),
        "{error}"
    );
    Ok(())
}

/// A folder with two pictures, and the words that name the fixtures.
fn folder() -> (TempDir, String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["grey", "rgb"] {
        let from = fixture("preprocess").join(format!("{name}.png"));
        std::fs::copy(from, folder.path().join(format!("{name}.png"))).expect("a copy");
    }
    let head = fixture("aesthetic/mlp.pth").display().to_string();
    (folder, head, fixture(CLIP).display().to_string())
}

#[test]
fn rerank_orders_by_the_aesthetic_score_alone_or_shows_it_beside_the_score() {
    let (folder, head, clip) = folder();
    let (head, clip) = (format!("--aesthetic={head}"), ["--aesthetic-clip", &clip]);
    let args = [&["rerank", &head], &clip[..], &["--json", "--quiet", "."]].concat();
    let report = json(&run(folder.path(), &args));
    let of = |place: usize, key: &str| report["results"][place][key].as_f64().expect("a number");
    assert_eq!(of(0, "score"), of(0, "aesthetic"));
    assert!(of(0, "score") > of(1, "score"));
    assert_eq!(report["prompts"], serde_json::json!([]));

    let args = [
        &["score", &head, "--prompt", "a cat"],
        &clip[..],
        &["--json", "--quiet", "."],
    ];
    let scored = json(&run(folder.path(), &args.concat()));
    let results = scored["results"].as_array().expect("results");
    for result in results {
        let aesthetic = result["aesthetic"].as_f64().expect("a number");
        let same = (0..2).any(|place| (of(place, "aesthetic") - aesthetic).abs() < 1e-9);
        assert!(same && result["score"].as_f64().expect("a number").abs() <= 1.0);
    }
    let args = [
        &["score", &head, "--prompt", "a cat"],
        &clip[..],
        &["--quiet", "grey.png"],
    ];
    let table = text(&run(folder.path(), &args.concat()).stdout);
    let words: Vec<&str> = table
        .lines()
        .last()
        .expect("a line")
        .split_whitespace()
        .collect();
    assert_eq!((words.len(), words[2]), (3, "grey.png"), "{table}");
}

#[test]
fn a_head_of_another_clip_is_refused_in_words() {
    let (folder, head, _) = folder();
    let other = fixture("clip-hf-gelu").display().to_string();
    let args = [
        "score",
        &format!("--aesthetic={head}"),
        "--aesthetic-clip",
        &other,
        "grey.png",
    ];
    assert_refused(
        &run(folder.path(), &args),
        1,
        "takes embeddings of 16 numbers",
    );
    let args = [
        "score",
        &format!("--aesthetic={head}"),
        "--aesthetic-clip",
        "embedded",
        "grey.png",
    ];
    assert_refused(&run(folder.path(), &args), 1, "gives 256: name the CLIP");
}

#[test]
fn a_recipe_may_guide_by_an_aesthetic_head() {
    let (folder, head, clip) = folder();
    let recipe = format!(
        "prompts: a cat\nsize: 32x32\nsteps: 2\nclip: {{ model: {clip}, cutouts: {{ count: 1 }} }}\n\
         terms: {{ aesthetic: {{ weight: 0.5, model: {head}, clip: {clip}, cutouts: {{ count: 2 }} }} }}\n"
    );
    std::fs::write(folder.path().join("r.yaml"), recipe).expect("a file");
    let report = json(&run(
        folder.path(),
        &["render", "r.yaml", "--json", "--quiet"],
    ));
    let metrics = Path::new(report["run"].as_str().expect("a run")).join("metrics.jsonl");
    let metrics = std::fs::read_to_string(folder.path().join(metrics)).expect("metrics");
    assert!(
        metrics.contains("\"aesthetic\"") && metrics.contains("aesthetic/score"),
        "{metrics}"
    );

    let args = [
        "render",
        "r.yaml",
        "--set",
        "terms.aesthetic.clip=embedded",
        "--quiet",
    ];
    assert_refused(&run(folder.path(), &args), 1, "gives 256: name the CLIP");
    // not here, and the command that brings it
    let args = [
        "render",
        "r.yaml",
        "--set",
        "terms.aesthetic=0.5",
        "--quiet",
    ];
    let output = program::program(folder.path(), &args)
        .env("HF_HOME", folder.path())
        .env_remove("HF_HUB_CACHE")
        .output()
        .expect("the program");
    assert_refused(&output, 1, "models fetch laion-aesthetic");
}
