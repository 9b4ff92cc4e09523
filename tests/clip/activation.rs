//! The nonlinearity of a CLIP's transformers: assumed where its files do not state it, and set by recipes and on the command line.

use std::fs;
use std::path::Path;

use anyhow::Result;
use candle_core::{Device, Tensor};
use frozen::Layer;
use phantasia::clip::files::ClipFiles;
use phantasia::clip::{Clip, ClipActivation, DTypePolicy};
use phantasia::recipe::Recipe;
use phantasia::session::Session;
use tempfile::TempDir;

use super::keys::{cases, folder};
use crate::common::clips::read;
use crate::common::{self, parse, program};

/// A folder with the pictures, `finetuned.pt`, and a tokenizer.
fn fine_tuned() -> TempDir {
    folder(&[
        ("finetuned.pt", "finetuned.pt"),
        ("finetuned.pt", "finetuned-quickgelu.pt"),
        ("finetuned.pt", "l14_400m.pt"),
        ("siglip.safetensors", "siglip.safetensors"),
        ("tokenizer.json", "tokenizer.json"),
        ("pic1.png", "pic1.png"),
    ])
}

/// The cosine of the third text and the second picture, and what was said on standard error.
#[track_caller]
fn score(folder: &Path, clip: &str, args: &[&str]) -> (f64, String) {
    let basic = [
        "score",
        "--clip",
        clip,
        "--prompt",
        "old tower",
        "--json",
        "--quiet",
        "pic1.png",
    ];
    let output = program::run(folder, &[&basic, args].concat());
    let said = program::text(&output.stderr);
    let cosine = program::json(&output)["results"][0]["score"].as_f64();
    (cosine.expect("a score"), said)
}

#[test]
fn an_assumed_nonlinearity_is_reported_and_can_be_set() {
    let folder = fine_tuned();
    let wanted = cases()["quick_gelu"][2][1].as_f64().expect("a cosine");
    let quick = |cosine: f64| (cosine - wanted).abs() < 5e-4;

    let (cosine, said) = score(folder.path(), "finetuned.pt", &[]);
    assert!(!quick(cosine), "{cosine}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for words in [
        "finetuned.pt",
        "GELU is assumed",
        "`activation: quick_gelu`",
        "--activation quick_gelu",
    ] {
        assert!(said.contains(words), "{said}");
    }
    for (clip, args) in [
        ("finetuned.pt", &["--activation", "quick_gelu"][..]),
        ("finetuned-quickgelu.pt", &[]),
    ] {
        let (cosine, said) = score(folder.path(), clip, args);
        assert!(quick(cosine) && said.is_empty(), "{clip}: {cosine} {said}");
    }
    // a name of MetaCLIP's
    let (cosine, said) = score(folder.path(), "l14_400m.pt", &[]);
    assert!(
        quick(cosine) && said.contains("QuickGELU is assumed"),
        "{cosine} {said}"
    );
    let (cosine, said) = score(
        folder.path(),
        "finetuned-quickgelu.pt",
        &["--activation", "gelu"],
    );
    assert!(!quick(cosine) && said.is_empty(), "{cosine} {said}");
}

#[test]
fn an_unknown_or_superfluous_nonlinearity_is_refused() {
    let folder = fine_tuned();
    let run = |args: &[&str]| {
        let basic = ["score", "--prompt", "old tower", "--quiet", "pic1.png"];
        program::run(folder.path(), &[&basic, args].concat())
    };
    let refused = run(&["--clip", "finetuned.pt", "--activation", "tanh"]);
    program::assert_refused(&refused, 2, "expected quick_gelu or gelu");
    program::assert_refused(&run(&["--activation", "gelu"]), 2, "the embedded CLIP");
    let refused = run(&["--clip", "siglip.safetensors"]);
    program::assert_refused(
        &refused,
        1,
        "a SigLIP whose image tower is timm's (`visual.trunk.` and `logit_bias`)",
    );
}

#[test]
fn a_recipe_says_the_nonlinearity_of_each_clip() -> Result<()> {
    let folder = fine_tuned();
    let model = folder.path().join("finetuned.pt");
    let text = |more: &str| {
        let model = model.display();
        format!("prompts: old tower\nsize: 32x32\nsteps: 1\nclip: {{ model: \"{model}\"{more} }}\n")
    };
    let warnings = |recipe: &Recipe| {
        Ok::<_, anyhow::Error>(Session::new(recipe, &Device::Cpu)?.take_warnings())
    };

    let recipe = parse(&text(""));
    let told = warnings(&recipe)?;
    assert!(
        told.iter().any(|line| line.contains("GELU is assumed")),
        "{told:?}"
    );
    let recipe = parse(&text(", activation: quick_gelu"));
    assert_eq!(parse(&recipe.to_yaml().expect("YAML")), recipe);
    assert!(
        recipe
            .to_yaml()
            .expect("YAML")
            .contains("activation: quick_gelu")
    );
    assert_eq!(warnings(&recipe)?, Vec::<String>::new());

    let schema = Recipe::schema().to_string();
    assert!(schema.contains("\"quick_gelu\""));
    Ok(())
}

#[test]
fn a_resnet_s_image_tower_keeps_its_nonlinearity() -> Result<()> {
    let resnet = common::fixture("clip-open-resnet");
    let load = |activation| {
        let mut files = ClipFiles::in_folder(&resnet)?;
        files.activation = activation;
        Clip::from_files("resnet", &files, DTypePolicy::F32, &Device::Cpu)
    };
    // its configuration says quick_gelu
    let (as_it_is, other) = (load(None)?, load(Some(ClipActivation::Gelu))?);
    let same = load(Some(ClipActivation::QuickGelu))?;
    let image = Tensor::full(0.3f32, (1, 3, 64, 64), &Device::Cpu)?;
    let see = |clip: &Clip| {
        clip.towers()[0]
            .eval(&image)?
            .flatten_all()?
            .to_vec1::<f32>()
    };
    assert_eq!(see(&as_it_is)?, see(&other)?);
    let read = |clip: &Clip| read(clip, "a red apple");
    assert_ne!(read(&as_it_is), read(&other));
    assert_eq!(read(&as_it_is), read(&same));
    Ok(())
}

#[test]
fn judges_of_candidates_and_of_labels_take_a_nonlinearity() {
    let folder = fine_tuned();
    fs::write(
        folder.path().join("r.yaml"),
        "prompts: a\nsize: 32x32\nsteps: 1\n",
    )
    .expect("a file");
    let render = [
        "render",
        "r.yaml",
        "--candidates",
        "2",
        "--activation",
        "gelu",
    ];
    let run = |args: &[&str]| program::run(folder.path(), args);
    program::assert_refused(&run(&render), 2, "--judge");
    let embedded = [&render[..], &["--judge", "embedded"]].concat();
    program::assert_refused(&run(&embedded), 2, "the embedded CLIP");
    let classify = [
        "classify",
        "--clip",
        "finetuned.pt",
        "--labels",
        "boat,tower",
        "--json",
        "--quiet",
        "pic1.png",
    ];
    assert!(program::text(&run(&classify).stderr).contains("GELU is assumed"));
    let told = run(&[&classify[..], &["--activation", "quick_gelu"]].concat());
    assert!(!program::text(&told.stderr).contains("assumed"));
}
