//! Naming the kinds of models that lie under the same file names as a CLIP and are none that can be read.

use frozen::checkpoint::Checkpoint;
use serde_json::Value;

use super::config::MODEL_TYPES;

/// What can be read, as the rest of a sentence.
pub(super) const READ: &str = "CLIPs whose image tower is CLIP's own ViT or ResNet and whose text tower is CLIP's transformer can be read (those of OpenAI, \
     LAION, DataComp, MetaCLIP, DFN)";

/// The family of a CLIP by the name of its image tower in timm.
pub(super) fn timm_family(name: &str) -> &'static str {
    const FAMILIES: [(&str, &str); 8] = [
        ("siglip", "a SigLIP"),
        ("eva", "an EVA-CLIP"),
        ("convnext", "a ConvNeXt CLIP"),
        ("vit_pe_", "a Perception Encoder"),
        ("fastvit", "a MobileCLIP"),
        ("_mci", "a MobileCLIP"),
        ("vitamin", "a ViTamin"),
        ("naflex", "a CLIP of NaFlex"),
    ];
    let known = (FAMILIES.iter()).find(|(part, _)| name.contains(part));
    known.map_or("a CLIP with an image tower of timm", |(_, family)| family)
}

/// What a `config.json` is of, where it is none of a CLIP that can be read.
pub(super) fn hugging_face(model_type: Option<&str>, config: &str) -> Option<String> {
    let json: Value = serde_json::from_str(config).unwrap_or_default();
    let Some(model_type) = model_type else {
        // timm's name their network, and are of an image tower alone
        let name = json["architecture"].as_str()?;
        let family = timm_family(name);
        return Some(format!(
            "timm's `{name}`, the image tower of {family} alone or a network without texts"
        ));
    };
    if MODEL_TYPES.contains(&model_type) {
        const PARTS: [&str; 6] = [
            "CLIPTextModel",
            "CLIPTextModelWithProjection",
            "CLIPVisionModel",
            "CLIPVisionModelWithProjection",
            "CLIPForImageClassification",
            "CLIPSegForImageSegmentation",
        ];
        let class = json["architectures"][0].as_str();
        let part = class.filter(|class| PARTS.contains(class))?;
        return Some(format!("a `{part}`, a part of a CLIP or one of other use"));
    }
    let naflex = !json["vision_config"]["num_patches"].is_null();
    Some(match model_type {
        "siglip2" if naflex => "a SigLIP 2 of NaFlex (`model_type`: siglip2)".to_owned(),
        "siglip" | "siglip2" => format!("a SigLIP (`model_type`: {model_type})"),
        _ => format!("a `{model_type}`, not of a `clip`"),
    })
}

/// What the weights are of, where they are none of a CLIP that can be read.
pub(super) fn of_weights(checkpoint: &Checkpoint) -> Option<String> {
    let has = |key: &str| checkpoint.shape(key).is_some();
    let any = |prefix: &str| checkpoint.keys().any(|key| key.starts_with(prefix));
    if any("text_decoder.") {
        return Some("a CoCa (`text_decoder.`)".to_owned());
    }
    if any("visual.attn_pool.") {
        return Some("a CoCa (`visual.attn_pool.`)".to_owned());
    }
    let bias = if has("logit_bias") {
        " and `logit_bias`"
    } else {
        ""
    };
    if any("visual.trunk.") {
        let pool = has("visual.trunk.attn_pool.latent");
        let what = match (pool, bias.is_empty()) {
            (_, false) => "a SigLIP",
            (true, true) => "a Perception Encoder or another CLIP with attention pooling",
            _ if any("visual.trunk.stages.") => "a ConvNeXt, MobileCLIP or ViTamin",
            _ => "a CLIP",
        };
        let text = if any("text.") {
            ", and its text tower that of a CustomTextCLIP (`text.`)"
        } else {
            ""
        };
        return Some(format!(
            "{what} whose image tower is timm's (`visual.trunk.`{bias}){text}"
        ));
    }
    if any("text.transformer.embeddings.") || any("text.transformer.encoder.") {
        return Some(
            "a CLIP whose text tower is one of transformers (`text.transformer.`)".to_owned(),
        );
    }
    if let Some(shape) = checkpoint.shape("vision_model.embeddings.patch_embedding.weight")
        && shape.len() == 2
    {
        return Some(
            "a SigLIP 2 of NaFlex (`vision_model.embeddings.patch_embedding` is no convolution)"
                .to_owned(),
        );
    }
    if any("vision_model.head.") {
        return Some(format!("a SigLIP (`vision_model.head.`{bias})"));
    }
    if has("patch_embed.proj.weight") || has("stem.0.weight") {
        return Some("an image tower of timm alone, without texts".to_owned());
    }
    if any("trunk.") || any("image_encoder.model.") {
        return Some(
            "a CLIP of other names than OpenAI's, OpenCLIP's and transformers'".to_owned(),
        );
    }
    None
}
