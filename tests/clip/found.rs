//! CLIPs whose configuration is missing, of timm, or incomplete: found by their tensors.

use std::fs;
use std::path::Path;

use anyhow::Result;
use candle_core::Device;
use phantasia::clip::config::ClipConfig;
use phantasia::clip::files::{ClipFiles, TokenizerFiles};
use phantasia::clip::preprocess::ResizeMode;
use phantasia::clip::{Clip, ClipActivation, DTypePolicy};
use phantasia::models::{Model, all};
use serde_json::{Value, json};

use super::keys::{
    assert_near, cases, cosines, fixture, folder, hugging_face, open_clip, with, write,
};
use crate::common::copies;

#[test]
fn timm_repositories_have_a_clip_and_an_image_tower() -> Result<()> {
    let timm = folder(&[
        ("tokenizer.json", "tokenizer.json"),
        ("siglip.safetensors", "model.safetensors"),
        ("open.safetensors", "open_clip_model.safetensors"),
    ]);
    let config = json!({"architecture": "vit_base_patch32_clip_224", "num_features": 768});
    write(timm.path(), "config.json", &config);
    write(timm.path(), "open_clip_config.json", &open_clip());
    let clip = Clip::from_folder("timm", timm.path(), &Device::Cpu)?;
    let cases = cases();
    assert_near(
        "timm",
        &cosines(clip, &cases)?,
        &cases["models"]["control"]["cosine"],
    );

    fs::remove_file(timm.path().join("open_clip_config.json"))?;
    let refused = Clip::from_folder("timm", timm.path(), &Device::Cpu)
        .err()
        .expect("refused");
    assert!(
        refused
            .to_string()
            .contains("timm's `vit_base_patch32_clip_224`"),
        "{refused}"
    );

    // a configuration of transformers' counts before open_clip's
    let both = folder(&[
        ("tokenizer.json", "tokenizer.json"),
        ("hf.safetensors", "model.safetensors"),
        ("siglip.safetensors", "open_clip_model.safetensors"),
    ]);
    write(both.path(), "config.json", &hugging_face());
    write(both.path(), "open_clip_config.json", &open_clip());
    Clip::from_folder("both", both.path(), &Device::Cpu)?;
    Ok(())
}

#[test]
fn a_folder_with_only_half_precision_weights_is_read() -> Result<()> {
    let half = folder(&[
        ("tokenizer.json", "tokenizer.json"),
        ("hf.safetensors", "model.fp16.safetensors"),
    ]);
    write(half.path(), "config.json", &hugging_face());
    Clip::from_folder("half", half.path(), &Device::Cpu)?;
    Ok(())
}

/// The tensors of a fixture, written as one file under other names.
fn renamed(from: &str, to: &Path, name: impl Fn(&str) -> String) -> Result<()> {
    let tensors = candle_core::safetensors::load(fixture(from), &Device::Cpu)?;
    let tensors = (tensors.into_iter())
        .map(|(key, tensor)| (name(&key), tensor))
        .collect();
    Ok(candle_core::safetensors::save(&tensors, to)?)
}

#[test]
fn a_text_tower_that_is_kept_apart_is_found_by_its_tensors() -> Result<()> {
    let folder = folder(&[("tokenizer.json", "tokenizer.json")]);
    let weights = folder.path().join("weights.safetensors");
    renamed("open.safetensors", &weights, |key| {
        match key.starts_with("visual.") || key == "logit_scale" {
            true => key.to_owned(),
            false => format!("text.{key}"),
        }
    })?;
    let cases = cases();
    let expected = &cases["models"]["control"]["cosine"];
    // the shape derived from the tensors
    let clip = Clip::from_files(
        "single",
        &ClipFiles::single(&weights),
        DTypePolicy::F32,
        &Device::Cpu,
    )?;
    assert_near("single", &cosines(clip, &cases)?, expected);
    // and a configuration that does not say `custom_text`
    fs::rename(&weights, folder.path().join("open_clip_model.safetensors"))?;
    write(folder.path(), "open_clip_config.json", &open_clip());
    let clip = Clip::from_folder("folder", folder.path(), &Device::Cpu)?;
    assert_near("folder", &cosines(clip, &cases)?, expected);
    Ok(())
}

#[test]
fn weights_that_do_not_show_how_tokens_are_pooled_are_refused() {
    for (name, words) in [("clipa", "`visual.ln_pre`"), ("sigmoid", "`logit_bias`")] {
        let files = ClipFiles::single(&fixture(name).join("open_clip_model.safetensors"));
        let refused = Clip::from_files(name, &files, DTypePolicy::F32, &Device::Cpu);
        let refused = refused.err().expect(name).to_string();
        assert!(
            refused.contains(words) && refused.contains("open_clip_config.json"),
            "{refused}"
        );
    }
}

#[test]
fn layer_scale_is_derived_from_weights() -> Result<()> {
    let folder = folder(&[
        ("tokenizer.json", "tokenizer.json"),
        ("layer-scale.safetensors", "weights.safetensors"),
    ]);
    let files = ClipFiles::single(&folder.path().join("weights.safetensors"));
    let clip = Clip::from_files("single", &files, DTypePolicy::F32, &Device::Cpu)?;
    let cases = cases();
    let expected = &cases["models"]["layer-scale"]["cosine"];
    assert_near("single", &cosines(clip, &cases)?, expected);
    Ok(())
}

#[test]
fn a_download_brings_what_says_how_pictures_are_shown_and_the_whole_clip() -> Result<()> {
    use phantasia::models::FetchRequest;
    for name in ["openai/clip-vit-base-patch32", "example/some-model"] {
        let optional =
            (FetchRequest::parse(name)?.layouts.into_iter()).flat_map(|files| files.optional);
        assert!(
            optional
                .into_iter()
                .any(|file| file == "processor_config.json"),
            "{name}"
        );
    }
    // repositories of timm hold an image tower as model.safetensors
    let request = FetchRequest::parse("timm/some-clip")?;
    let place = |name: &str| {
        (request.layouts.iter()).position(|files| files.weights.contains(&name.to_owned()))
    };
    assert!(place("open_clip_pytorch_model.bin") < place("model.safetensors"));
    assert!(place("open_clip_pytorch_model.bin").is_some());
    Ok(())
}

#[test]
fn a_model_with_a_tokenizer_of_its_own_does_not_take_clip_s() -> Result<()> {
    let mut files = ClipFiles::in_folder(&fixture("end-token"))?;
    files.tokenizer = Some(TokenizerFiles::Json(fixture("tokenizer.json")));
    let refused = Clip::from_files("own", &files, DTypePolicy::F32, &Device::Cpu)
        .err()
        .expect("refused");
    assert!(
        refused
            .to_string()
            .contains("there is none next to the weights"),
        "{refused}"
    );
    // nor is it told to fetch it
    let own = fixture("../timm/ViT-B-16-SigLIP2");
    let names = ["open_clip_config.json", "open_clip_model.safetensors"];
    let bare = copies(&names.map(|name| (own.join(name), name)));
    let mut config: Value = serde_json::from_slice(&fs::read(own.join(names[0]))?)?;
    config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = json!("some/tokenizer");
    fs::write(bare.path().join(names[0]), config.to_string())?;
    let refused = Clip::from_folder("bare", bare.path(), &Device::Cpu)
        .err()
        .expect("refused");
    let refused = refused.to_string();
    for part in [
        "`some/tokenizer` (`hf_tokenizer_name`)",
        "put its tokenizer.json",
    ] {
        assert!(refused.contains(part), "{refused}");
    }
    // another kind of model is reported even without a tokenizer
    let bare = folder(&[("siglip.safetensors", "open_clip_model.safetensors")]);
    let timm = "/model_cfg/vision_cfg/timm_model_name";
    let config = with(&open_clip(), timm, json!("swin_base_patch4_window7_224"));
    fs::write(bare.path().join("open_clip_config.json"), config)?;
    let refused = Clip::from_folder("bare", bare.path(), &Device::Cpu)
        .err()
        .expect("refused");
    assert!(refused.to_string().contains("timm's `swin"), "{refused}");
    Ok(())
}

/// A known model.
fn known(name: &str) -> Option<&'static Model> {
    (all().iter()).find(|model| model.names().any(|known| known == name))
}

#[test]
fn the_registry_says_how_its_models_are_preprocessed() -> Result<()> {
    let folder = folder(&[
        ("tokenizer.json", "tokenizer.json"),
        ("open.safetensors", "open_clip_model.safetensors"),
    ]);
    write(folder.path(), "open_clip_config.json", &open_clip());
    let shown = |name: &str| -> Result<(ClipConfig, Option<ClipActivation>)> {
        let files = ClipFiles::of_model(folder.path(), known(name))?;
        Ok((files.open()?.1, files.activation))
    };
    let (plain, activation) = shown("nothing")?;
    assert_eq!(plain.preprocess.resize_mode, ResizeMode::Shortest);
    assert_eq!(activation, None);
    let (dfn, activation) = shown("ViT-H-14/dfn5b")?;
    assert_eq!(dfn.preprocess.resize_mode, ResizeMode::Squash);
    assert_eq!(dfn.mean, plain.mean);
    assert_eq!(activation, Some(ClipActivation::QuickGelu));
    let (laion, activation) = shown("ViT-L-14/laion2b_s32b_b82k")?;
    assert_eq!((laion.mean, laion.std), ([0.5; 3], [0.5; 3]));
    // what the model is made of is the folder's to say
    assert_eq!((laion.vision, activation), (plain.vision, None));
    Ok(())
}

#[test]
fn the_registry_says_what_a_model_without_a_configuration_is_made_of() -> Result<()> {
    let bare = folder(&[
        ("tokenizer.json", "tokenizer.json"),
        ("open.safetensors", "open_clip_model.safetensors"),
    ]);
    // another library's is not in the way
    write(
        bare.path(),
        "config.json",
        &json!({ "model_type": "other" }),
    );
    let config = |name: &str| -> Result<Value> {
        let files = ClipFiles::of_model(bare.path(), known(name))?;
        let (file, _) = files.config.expect("a configuration");
        Ok(serde_json::from_str(&file.text)?)
    };
    let found = config("ViT-B-16-SigLIP2/webli")?;
    let tower = "vit_base_patch16_siglip_224";
    assert_eq!(found["model_cfg"]["vision_cfg"]["timm_model_name"], tower);
    assert_eq!(found["preprocess_cfg"]["resize_mode"], "squash");
    // the other model of its repository has the configuration there
    write(bare.path(), "open_clip_config.json", &open_clip());
    for (name, own) in [("378", true), ("384", false)] {
        let found = config(&format!("ViT-SO400M-14-SigLIP-{name}/webli"))?;
        let size = &found["model_cfg"]["vision_cfg"]["image_size"];
        assert_eq!(*size == 378, own, "{name}: {size}");
    }
    Ok(())
}
