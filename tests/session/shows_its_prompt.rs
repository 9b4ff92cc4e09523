//! A picture shows its prompt: rendered in full with the defaults, it is recognised by a judge that never guides.
//!
//! The judge is the image tower of `tools/embedded-clip/judge.safetensors`, trained apart from the towers of the embedded CLIP (its README says
//! how), in a joint space of its own. Its side of the texts is `tests/fixtures/judge-texts.safetensors`: the hundred prompts of
//! `tools/embedded-clip/prompts.txt`, encoded by `tests/fixtures/make_judge_texts.py`.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use phantasia::clip::{Clip, fast_dot};
use phantasia::judge::Ensemble;
use phantasia::picture;
use phantasia::recipe::{Prompt, Recipe};
use phantasia::session::Session;

use crate::common::clips::tensors;
use crate::common::fixture;

/// The joint space of the judge.
const WIDTH: usize = 256;

fn tools(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tools/embedded-clip")
        .join(name)
}

/// The judge as a CLIP in OpenCLIP's layout. Its text tower comes from a fixture and is not used.
fn judge() -> Result<Ensemble> {
    let folder = tempfile::tempdir()?;
    let other = fixture("clip-open-resnet");
    let mut weights: HashMap<String, Tensor> =
        candle_core::safetensors::load(other.join("open_clip_model.safetensors"), &Device::Cpu)?
            .into_iter()
            .filter(|(key, _)| !key.starts_with("visual."))
            .collect();
    let text_width = weights["text_projection"].dim(0)?;
    let projection = Tensor::zeros((text_width, WIDTH), DType::F32, &Device::Cpu)?;
    weights.insert("text_projection".to_owned(), projection);
    let judge = candle_core::safetensors::load(tools("judge.safetensors"), &Device::Cpu)?;
    for (key, tensor) in judge {
        if let Some(key) = key.strip_prefix("vision_model.")
            && tensor.dtype().is_float()
        {
            let tensor = tensor.to_dtype(DType::F32)?;
            weights.insert(format!("visual.{key}"), tensor);
        }
    }
    candle_core::safetensors::save(&weights, folder.path().join("open_clip_model.safetensors"))?;
    fs::copy(
        other.join("tokenizer.json"),
        folder.path().join("tokenizer.json"),
    )?;
    let config = fs::read_to_string(other.join("open_clip_config.json"))?;
    let mut config: serde_json::Value = serde_json::from_str(&config)?;
    config["model_cfg"]["embed_dim"] = WIDTH.into();
    config["model_cfg"]["vision_cfg"]["width"] = 32.into();
    fs::write(
        folder.path().join("open_clip_config.json"),
        config.to_string(),
    )?;
    let clip = Clip::from_folder("judge", folder.path(), &Device::Cpu)?;
    Ensemble::new(vec![Arc::new(clip)], &Device::Cpu)
}

#[test]
fn three_prompts_are_recognised_among_a_hundred() -> Result<()> {
    let prompts = fs::read_to_string(tools("prompts.txt"))?;
    let prompts: Vec<&str> = prompts.lines().collect();
    let texts = tensors("judge-texts.safetensors")?["texts"]
        .to_dtype(DType::F32)?
        .to_vec2::<f32>()?;
    assert_eq!((prompts.len(), texts.len()), (100, 100));
    let judge = judge()?;
    for prompt in ["a red apple", "sunset over the sea", "a butterfly"] {
        let recipe = Recipe::new(vec![Prompt::new(prompt)]);
        let mut session = Session::new(&recipe, &Device::Cpu)?;
        while !session.tick()?.finished {}
        let picture = picture::from_tensor(&session.image()?)?;
        let seen = judge.embed_picture(&picture)?;
        let cosines: Vec<f64> = texts.iter().map(|text| fast_dot(text, &seen[0])).collect();
        let own = prompts.iter().position(|other| *other == prompt);
        let own = cosines[own.expect("one of the hundred")];
        let rank = 1 + cosines.iter().filter(|cosine| **cosine > own).count();
        println!("{prompt}: number {rank} of 100, with a cosine of {own:.3}");
        assert!(rank <= 5, "{prompt} is number {rank} of 100");
    }
    Ok(())
}
