//! The parts of the embedded CLIP that can be named alone.

use anyhow::Result;
use candle_core::{Device, Tensor};
use frozen::Layer;
use phantasia::clip::{Clip, ClipActivation, ClipChoice, Library, Tower};
use phantasia::recipe::Recipe;
use phantasia::session::Session;

use crate::common::{parse, refusal};

fn part(name: &str) -> Result<std::sync::Arc<Clip>> {
    Library::default().clip(name, ClipChoice::default(), &Device::Cpu)
}

fn see(tower: &Tower) -> Result<Vec<f32>> {
    let image = Tensor::full(0.3f32, (1, 3, tower.size(), tower.size()), &Device::Cpu)?;
    Ok(tower.eval(&image)?.flatten_all()?.to_vec1()?)
}

#[test]
fn a_part_is_a_tower_of_the_whole_with_the_same_texts() -> Result<()> {
    let whole = part("embedded")?;
    let text = |clip: &Clip| clip.embed_text("a red apple").map(|text| text.vector);
    for (index, name) in ["embedded/transformer", "embedded/resnet"]
        .into_iter()
        .enumerate()
    {
        let part = part(name)?;
        let [tower] = part.towers() else {
            panic!("{name} has {} towers", part.towers().len());
        };
        assert_eq!((part.name(), tower.name()), (name, name));
        // its weight is the entry's
        assert_eq!(tower.weight(), 1.0);
        assert_eq!(see(tower)?, see(&whole.towers()[index])?);
        assert_eq!(text(&part)?, text(&whole)?);
        assert_eq!(part.logit_scale(), whole.logit_scale());
    }
    Ok(())
}

/// The texts of a part have as much in common as those of the whole.
#[test]
fn the_prompts_of_a_part_are_centred() -> Result<()> {
    let loss = |clip: &str| {
        let recipe = parse(&format!(
            "prompts: a red ball\nsize: [32, 32]\nsteps: 1\nclip: [{{ model: embedded/resnet{clip} }}]\n"
        ));
        Ok::<_, anyhow::Error>(Session::new(&recipe, &Device::Cpu)?.tick()?.loss)
    };
    assert_eq!(loss("")?, loss(", center: 0.5")?);
    assert_ne!(loss("")?, loss(", center: 0")?);
    Ok(())
}

#[test]
fn what_a_part_cannot_have_is_refused() {
    let refused =
        |entry: &str| refusal(&format!("prompts: a\nclip: [{{ {entry} }}]\n")).to_string();
    let error = refused("model: embedded/resnet, activation: gelu");
    assert!(error.contains("nonlinearity is known"), "{error}");
    let error = refused("model: embedded/things");
    assert!(
        error.contains("clip.0.model") && error.contains("`embedded/transformer`"),
        "{error}"
    );
    let choice = ClipChoice {
        activation: Some(ClipActivation::Gelu),
        ..ClipChoice::default()
    };
    let loaded = Library::default().clip("embedded/transformer", choice, &Device::Cpu);
    assert!(loaded.is_err());
}

/// A folder of that name is not meant, wherever the recipe lies.
#[test]
fn a_part_is_no_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(folder.path().join("embedded/resnet")).expect("a folder");
    let text = "prompts: a\nclip: [embedded/resnet]\n";
    let recipe = Recipe::parse(text, "r.yaml", folder.path()).expect("a recipe");
    assert_eq!(recipe.clip[0].model, "embedded/resnet");
}
