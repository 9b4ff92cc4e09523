//! Towers of other kinds than CLIP's own: agreement with open_clip and transformers, on both ways of computing.
//!
//! Models and references are in `tests/fixtures/timm`; see `tests/fixtures/make_timm.py`.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use frozen::Layer;
use phantasia::clip::config::ClipConfig;
use phantasia::clip::{Clip, Tap};
use phantasia::objective::{Target, prompt_loss};
use phantasia::recipe::{Distance, Select};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::clips::{error, load_error};
use crate::common::{self};

fn fixture(name: &str) -> PathBuf {
    common::fixture("timm").join(name)
}

/// Compares a model with what the reference library makes of the same weights.
fn agrees(name: &str) -> Result<()> {
    agrees_in(&fixture(name), [2e-5, 1e-4])
}

/// Compares the model in a folder with its `reference.safetensors`; `most` are the largest differences of values and of gradients, as shares of the
/// largest.
fn agrees_in(folder: &Path, most: [f64; 2]) -> Result<()> {
    let start = Instant::now();
    let clip = Clip::from_folder("a tower", folder, &Device::Cpu)?;
    println!("{} loaded in {:.2?}", folder.display(), start.elapsed());
    assert_eq!(clip.warnings(), [""; 0]);
    let file = folder.join("reference.safetensors");
    let reference = candle_core::safetensors::load(file, &Device::Cpu)?;
    let near = |what: &str, found: &Tensor, part: &str| {
        let off = error(found, &reference[part])?;
        println!("{what}: off by {off:e}");
        assert!(
            off < most[usize::from(part == "grad_cosine")],
            "{what}: off by {off:e}"
        );
        anyhow::Ok(())
    };
    let texts = fs::read_to_string(folder.join("texts.txt"))?;
    let texts = (texts.lines())
        .map(|text| Ok(clip.embed_text(text)?.vector))
        .collect::<Result<Vec<_>>>()?;
    let unit = Tensor::new(texts.clone(), &Device::Cpu)?;
    near("texts", &unit, "text_embeds_unit")?;

    let tower = &clip.towers()[0];
    let pixels = &reference["pixels"];
    let (seen, pullback) = tower.vjp(pixels)?;
    near("images", &seen, "image_embeds")?;
    near("images of eval", &tower.eval(pixels)?, "image_embeds")?;

    let target = Target {
        vector: texts[0].clone(),
        weight: 1.0,
        stop: None,
    };
    let embeddings = seen.flatten_all()?.to_vec1::<f32>()?;
    let found = prompt_loss(
        &embeddings,
        texts[0].len(),
        std::slice::from_ref(&target),
        &[],
        Distance::Cosine,
        Select::All,
    );
    let grads = Tensor::from_vec(found.grads, seen.shape(), &Device::Cpu)?;
    near("the gradient", &pullback(&grads)?, "grad_cosine")?;

    // the last layer with the embedding, whose gradients add up
    let (count, _) = tower.layers();
    let taps = [Tap::Layer(count - 1), Tap::Embedding];
    let (tapped, pullback) = tower.vjp_taps(pixels, &taps)?;
    near("the last layer", &tapped[0], "last_block")?;
    near("images with taps", &tapped[1], "image_embeds")?;
    let sum = pullback(&[tapped[0].zeros_like()?, grads])?;
    near("the gradient with taps", &sum, "grad_cosine")
}

fn agrees_on_both_paths(name: &str) -> Result<()> {
    agrees(name)?;
    // as a GPU computes it
    frozen::kernel::composed(|| agrees(name))
}

/// `CLIP_REFERENCE=FOLDER cargo test --test clip full_size -- --ignored --nocapture` prints the differences. `benches/open_clip_step.rs` times the
/// same model.
#[test]
#[ignore = "needs a model of full size, which `make_timm.py --full NAME FOLDER` makes"]
fn a_model_of_full_size_agrees() -> Result<()> {
    agrees_in(Path::new(&std::env::var("CLIP_REFERENCE")?), [1e-4, 1e-3])
}

#[test]
fn siglip_agrees_with_open_clip() -> Result<()> {
    agrees_on_both_paths("ViT-SO400M-16-SigLIP-i18n-256")?;
    agrees_on_both_paths("ViT-B-16-SigLIP2")?;
    let clip = Clip::from_folder("tiny", &fixture("ViT-B-16-SigLIP2"), &Device::Cpu)?;
    assert_eq!(clip.logit_bias(), Some(-10.0));
    Ok(())
}

#[test]
fn siglip_agrees_with_transformers() -> Result<()> {
    agrees_on_both_paths("siglip-transformers")
}

#[test]
fn the_perception_encoder_agrees_with_open_clip() -> Result<()> {
    agrees_on_both_paths("PE-Core-T-16-384")?;
    agrees_on_both_paths("PE-Core-bigG-14-448")
}

#[test]
fn eva_agrees_with_open_clip() -> Result<()> {
    agrees_on_both_paths("EVA01-g-14")?;
    agrees_on_both_paths("EVA02-B-16")?;
    agrees_on_both_paths("EVA02-E-14")
}

#[test]
fn mobileclip_s_transformers_agree_with_open_clip() -> Result<()> {
    agrees_on_both_paths("MobileCLIP-B")?;
    agrees_on_both_paths("MobileCLIP2-L-14")
}

/// A model's configuration.
fn config(name: &str) -> Value {
    let file = fs::read_to_string(fixture(name).join("open_clip_config.json"));
    serde_json::from_str(&file.expect("a configuration")).expect("JSON")
}

#[test]
fn keys_of_timm_s_towers_count_or_are_refused_by_name() {
    for (name, key, value, words) in [
        (
            "ViT-B-16-SigLIP2",
            "timm_pool",
            json!("avg"),
            "supported for `vit_base_patch16_siglip_224`: `map`",
        ),
        (
            "ViT-B-16-SigLIP2",
            "timm_pool",
            json!("abs_attn"),
            "timm_pool` = `abs_attn`",
        ),
        (
            "ViT-B-16-SigLIP2",
            "timm_proj",
            json!("conv"),
            "timm_proj` = `conv`; supported: linear, mlp, none",
        ),
        (
            "EVA01-g-14",
            "timm_pool",
            json!("map"),
            "`eva_giant_patch14_224`: `token`",
        ),
        (
            "EVA01-g-14",
            "timm_model_name",
            json!("eva_giant_patch14_560"),
            "an EVA-CLIP: its image tower is timm's `eva_giant_patch14_560`",
        ),
        (
            "EVA01-g-14",
            "timm_model_name",
            json!("vit_unknown"),
            " are known, the nearest `",
        ),
        (
            "ViT-B-16-SigLIP2",
            "timm_model_name",
            json!("naflexvit_so400m_patch16_siglip"),
            "a NaFlex CLIP, which is not supported",
        ),
        (
            "EVA01-g-14",
            "timm_mode",
            json!(1),
            "timm_mode`, which is unknown",
        ),
        ("EVA01-g-14", "image_size", json!(0), "image size of 0"),
    ] {
        let mut config = config(name);
        config["model_cfg"]["vision_cfg"][key] = value;
        let refused = ClipConfig::open_clip(&config.to_string()).expect_err(words);
        assert!(refused.contains(words), "{key}: {refused}");
    }
    // open_clip passes none of these to timm
    let plain = ClipConfig::open_clip(&config("EVA01-g-14").to_string());
    for (key, value) in [
        ("layers", json!(3)),
        ("timm_drop", json!(0.5)),
        ("patch_dropout", json!(0.5)),
    ] {
        let mut config = config("EVA01-g-14");
        config["model_cfg"]["vision_cfg"][key] = value;
        assert_eq!(ClipConfig::open_clip(&config.to_string()), plain, "{key}");
    }
}

#[test]
fn keys_of_transformers_siglip_count_or_are_refused_by_name() {
    let file = fs::read_to_string(fixture("siglip-transformers").join("config.json"));
    let plain: Value = serde_json::from_str(&file.expect("a configuration")).expect("JSON");
    for (place, value, words) in [
        (
            "/vision_config/vision_use_head",
            json!(false),
            "vision_use_head",
        ),
        (
            "/vision_config/hidden_act",
            json!("mish"),
            "hidden_act` = `mish`",
        ),
        (
            "/vision_config/num_attention_heads",
            json!(5),
            "5 heads for a width of 24",
        ),
        (
            "/vision_config/patch_size",
            json!(99),
            "patches of 99 pixels",
        ),
        (
            "/text_config/projection_size",
            json!(20),
            "joint space of 20",
        ),
        (
            "/architectures",
            json!(["SiglipVisionModel"]),
            "SiglipVisionModel",
        ),
    ] {
        let mut config = plain.clone();
        let (parent, key) = place.rsplit_once('/').expect("a place");
        config.pointer_mut(parent).expect("an object")[key] = value;
        let refused = ClipConfig::hugging_face(&config.to_string()).expect_err(place);
        assert!(refused.contains(words), "{place}: {refused}");
    }
}

#[test]
fn weights_of_other_shapes_are_refused_with_the_tensor_s_name() -> Result<()> {
    let name = "EVA02-B-16";
    let file = fixture(name).join("open_clip_model.safetensors");
    let weights = candle_core::safetensors::load(&file, &Device::Cpu)?;
    let trunk = |part: &str| format!("visual.trunk.{part}");
    let refused = |change: &dyn Fn(&mut HashMap<String, Tensor>) -> Result<()>| {
        let files = ["open_clip_config.json", "tokenizer.json"];
        let folder = common::copies(&files.map(|file| (fixture(name).join(file), file)));
        let mut weights = weights.clone();
        change(&mut weights)?;
        candle_core::safetensors::save(
            &weights,
            folder.path().join("open_clip_model.safetensors"),
        )?;
        anyhow::Ok(load_error(folder.path()))
    };
    for (part, shape, words) in [
        (
            "patch_embed.proj.weight",
            vec![48, 3, 4, 5],
            "has shape [48, 3, 4, 5]",
        ),
        (
            "patch_embed.proj.weight",
            vec![48, 48],
            "4 sizes above 0 are needed",
        ),
        ("pos_embed", vec![1, 9, 48], "has shape [1, 9, 48]"),
        ("pos_embed", vec![1, 17, 40], "`visual.trunk."),
        ("blocks.0.mlp.fc1_x.weight", vec![0, 48], "2 sizes above 0"),
        ("blocks.0.attn.k_proj.weight", vec![47, 48], "k_proj.weight"),
        ("head.bias", vec![13], "head.bias"),
    ] {
        let said = refused(&|weights| {
            let like = Tensor::zeros(shape.clone(), DType::F16, &Device::Cpu)?;
            weights.insert(trunk(part), like);
            Ok(())
        })?;
        assert!(said.contains(words), "{part}: {said}");
    }
    let said = refused(&|weights| {
        weights.remove(&trunk("blocks.0.attn.norm.weight"));
        Ok(())
    })?;
    assert!(
        said.contains("no tensor `visual.trunk.blocks.0.attn.norm.weight`"),
        "{said}"
    );
    // no block is left out because another is missing
    let said = refused(&|weights| {
        let norm = weights[&trunk("blocks.0.norm1.weight")].clone();
        weights.insert(trunk("blocks.2.norm1.weight"), norm);
        Ok(())
    })?;
    assert!(said.contains("no part of this model uses it"), "{said}");
    Ok(())
}

#[test]
fn a_patch_projection_of_another_width_is_refused_with_its_name() -> Result<()> {
    for (name, part, width) in [
        ("PE-Core-T-16-384", "proj.weight", 24),
        ("MobileCLIP-B", "backbone.2.conv.weight", 24),
    ] {
        let tensor = format!("visual.trunk.patch_embed.{part}");
        let folder = changed(
            name,
            |_| {},
            |weights| {
                let found = &weights[&tensor];
                let wider = Tensor::cat(&[found, &found.narrow(0, 0, 1)?], 0)?;
                weights.insert(tensor.clone(), wider);
                Ok(())
            },
        )?;
        let said = load_error(folder.path());
        assert!(said.contains(&format!("`{tensor}` in ")), "{said}");
        assert!(said.contains(&format!("requires [{width}, ")), "{said}");
    }
    Ok(())
}

#[test]
fn heads_that_do_not_divide_the_width_are_refused_by_name() -> Result<()> {
    let other = "vit_so400m_patch16_siglip_256";
    let config = |config: &mut Value| {
        config["model_cfg"]["vision_cfg"]["timm_model_name"] = json!(other);
    };
    let said = load_error(changed("ViT-B-16-SigLIP2", config, |_| Ok(()))?.path());
    for part in [
        "`visual.trunk.pos_embed` in ",
        "open_clip_model.safetensors is 24 channels wide",
        "the 16 heads",
        other,
    ] {
        assert!(said.contains(part), "{said}");
    }
    Ok(())
}

/// A copy of a model whose configuration and tensors were changed.
fn changed(
    name: &str,
    config: impl Fn(&mut Value),
    weights: impl Fn(&mut HashMap<String, Tensor>) -> Result<()>,
) -> Result<TempDir> {
    let folder = common::copies(&[(fixture(name).join("tokenizer.json"), "tokenizer.json")]);
    let place = |file: &str| folder.path().join(file);
    let mut settings = self::config(name);
    config(&mut settings);
    fs::write(place("open_clip_config.json"), settings.to_string())?;
    let file = "open_clip_model.safetensors";
    let mut tensors = candle_core::safetensors::load(fixture(name).join(file), &Device::Cpu)?;
    weights(&mut tensors)?;
    candle_core::safetensors::save(&tensors, place(file))?;
    Ok(folder)
}

#[test]
fn a_tokenizer_of_another_model_is_refused_by_name() -> Result<()> {
    let name = "ViT-B-16-SigLIP2";
    let unchanged = || changed(name, |_| {}, |_| Ok(()));
    // its vocabulary is another's
    let folder = unchanged()?;
    let tokenizer = folder.path().join("tokenizer.json");
    fs::copy(
        common::fixture("tokenizers/bert/tokenizer.json"),
        &tokenizer,
    )?;
    let said = load_error(folder.path());
    for part in ["the tokenizer of tiny", "(54)", "19 rows"] {
        assert!(said.contains(part), "{said}");
    }
    // an added token counts where a text has it
    let folder = unchanged()?;
    let tokenizer = folder.path().join("tokenizer.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&tokenizer)?)?;
    let mut added = json["added_tokens"][0].clone();
    added["id"] = json!(19);
    added["content"] = json!("zebra");
    added["special"] = json!(false);
    json["added_tokens"]
        .as_array_mut()
        .expect("a list")
        .push(added);
    fs::write(&tokenizer, json.to_string())?;
    let clip = Clip::from_folder("tiny", folder.path(), &Device::Cpu)?;
    clip.embed_text("a cat")?;
    let said = clip.embed_text("a zebra").expect_err("refused");
    let said = said.to_string();
    for part in [
        "the tokenizer of tiny",
        "\"a zebra\"",
        "`zebra` (19)",
        "19 rows",
    ] {
        assert!(said.contains(part), "{said}");
    }
    // the end of every text is beyond the table
    let fewer = |config: &mut Value| config["model_cfg"]["text_cfg"]["vocab_size"] = json!(603);
    let folder = changed("../clip-open-vit", fewer, |weights| {
        let key = "token_embedding.weight";
        let table = weights[key].narrow(0, 0, 603)?.contiguous()?;
        weights.insert(key.to_owned(), table);
        Ok(())
    })?;
    let said = load_error(folder.path());
    for part in ["every text gets", "`<|endoftext|>` (603)", "603 rows"] {
        assert!(said.contains(part), "{said}");
    }
    Ok(())
}

#[test]
fn weights_under_their_authors_names_are_refused_by_name() -> Result<()> {
    for (tensor, words) in [
        (
            "visual.attn_pool.probe",
            "a Perception Encoder under its authors' names",
        ),
        (
            "visual.blocks.0.attn.q_bias",
            "an EVA-CLIP under its authors' names",
        ),
        (
            "image_encoder.model.patch_emb.0.block.conv.weight",
            "a MobileCLIP under its authors' names",
        ),
    ] {
        let folder = tempfile::tempdir()?;
        let weights = HashMap::from([(tensor, Tensor::zeros(3, DType::F32, &Device::Cpu)?)]);
        candle_core::safetensors::save(
            &weights,
            folder.path().join("open_clip_model.safetensors"),
        )?;
        let said = load_error(folder.path());
        assert!(said.contains(words), "{tensor}: {said}");
    }
    Ok(())
}

#[test]
fn a_tower_without_a_projection_has_the_joint_space_s_width() -> Result<()> {
    let name = "ViT-B-16-SigLIP2";
    let files = ["tokenizer.json", "tokenizer_config.json"];
    let folder = common::copies(&files.map(|file| (fixture(name).join(file), file)));
    let mut config = config(name);
    config["model_cfg"]["embed_dim"] = json!(20);
    fs::write(
        folder.path().join("open_clip_config.json"),
        config.to_string(),
    )?;
    let weights = "open_clip_model.safetensors";
    let mut tensors = candle_core::safetensors::load(fixture(name).join(weights), &Device::Cpu)?;
    for (part, shape) in [("weight", vec![20, 16]), ("bias", vec![20])] {
        let tensor = Tensor::zeros(shape, DType::F16, &Device::Cpu)?;
        tensors.insert(format!("text.text_projection.{part}"), tensor);
    }
    candle_core::safetensors::save(&tensors, folder.path().join(weights))?;
    let said = load_error(folder.path());
    assert!(said.contains("width 24 without a projection"), "{said}");
    Ok(())
}
