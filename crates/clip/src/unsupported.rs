//! Recognises models of unsupported families, whose files have the same names as a CLIP's.

use serde_json::{Map, Value};
use weights::checkpoint::Checkpoint;

/// The supported models, as a clause.
pub(super) const SUPPORTED: &str = "supported are CLIPs with CLIP's own image towers (ViT, ResNet) and text transformer (from OpenAI, LAION, DataComp, MetaCLIP, DFN), and, next to their configuration, SigLIP, SigLIP 2, EVA-CLIP, the Perception Encoder, MobileCLIP, ConvNeXt and ViTamin";

/// The supported values of `model_type`.
pub(crate) const MODEL_TYPES: [&str; 3] = ["clip", "metaclip_2", "siglip"];

/// The family of a CLIP by the name of its image tower in timm.
pub(super) fn timm_family(name: &str) -> &'static str {
    const FAMILIES: [(&str, &str); 8] = [
        // before SigLIP, whose name its towers have too
        ("naflex", "a NaFlex CLIP"),
        ("siglip", "a SigLIP"),
        ("eva", "an EVA-CLIP"),
        ("convnext", "a ConvNeXt CLIP"),
        ("vit_pe_", "a Perception Encoder"),
        ("fastvit", "a MobileCLIP"),
        ("_mci", "a MobileCLIP"),
        ("vitamin", "a ViTamin"),
    ];
    let known = (FAMILIES.iter()).find(|(part, _)| name.contains(part));
    known.map_or("a CLIP with an image tower from timm", |(_, family)| family)
}

/// The model that a `config.json` describes, if it is not a supported CLIP. `config` is the file without its `model_type`.
pub(super) fn hugging_face(
    model_type: Option<&str>,
    config: &Map<String, Value>,
) -> Option<String> {
    let get = |key: &str| config.get(key).unwrap_or(&Value::Null);
    let Some(model_type) = model_type else {
        // timm's configurations name their network, and describe an image tower only
        let name = get("architecture").as_str()?;
        let family = timm_family(name);
        return Some(format!(
            "timm's `{name}`, which is the image tower of {family}, or another network without a text tower"
        ));
    };
    if MODEL_TYPES.contains(&model_type) {
        const PARTS: [&str; 9] = [
            "CLIPTextModel",
            "CLIPTextModelWithProjection",
            "CLIPVisionModel",
            "CLIPVisionModelWithProjection",
            "CLIPForImageClassification",
            "CLIPSegForImageSegmentation",
            "SiglipTextModel",
            "SiglipVisionModel",
            "SiglipForImageClassification",
        ];
        let class = get("architectures")[0].as_str();
        let part = class.filter(|class| PARTS.contains(class))?;
        return Some(format!("a `{part}`, which is not a whole CLIP"));
    }
    Some(match model_type {
        // those of fixed resolution are a `siglip`
        "siglip2" => "a NaFlex SigLIP 2 (`model_type`: siglip2)".to_owned(),
        _ => format!("a `{model_type}`, not a `clip`"),
    })
}

/// Beginnings of the names of a text tower from transformers.
pub(super) const OF_TRANSFORMERS: &[&str] = &[
    "text.transformer.embeddings.",
    "text.transformer.encoder.",
    "text.transformer.embed_tokens.",
];

/// The model that the weights belong to, if it is not a supported CLIP. `expected` are beginnings of names that the configuration accounts for.
pub(super) fn of_weights(checkpoint: &Checkpoint, expected: &[&str]) -> Option<String> {
    let has = |key: &str| checkpoint.shape(key).is_some();
    let any = |prefix: &str| {
        !expected.contains(&prefix) && checkpoint.keys().any(|key| key.starts_with(prefix))
    };
    let bias = if has("logit_bias") {
        " and `logit_bias`"
    } else {
        ""
    };
    let patches = checkpoint.shape("vision_model.embeddings.patch_embedding.weight");
    let what = if any("text_decoder.") {
        "a CoCa (`text_decoder.`), which needs its open_clip_config.json"
    } else if has("visual.attn_pool.probe") {
        "a Perception Encoder under its authors' names (`visual.attn_pool.probe`) instead of timm's"
    } else if any("visual.blocks.") {
        "an EVA-CLIP under its authors' names (`visual.blocks.`) instead of timm's"
    } else if any("image_encoder.model.") {
        "a MobileCLIP under its authors' names (`image_encoder.model.`) instead of timm's"
    } else if any("visual.attn_pool.") {
        "a CoCa (`visual.attn_pool.`), which needs its open_clip_config.json"
    } else if any("visual.trunk.") {
        let pool = has("visual.trunk.attn_pool.latent");
        let what = match (pool, bias.is_empty()) {
            (_, false) => "a SigLIP",
            (true, true) => "a Perception Encoder or another CLIP with attention pooling",
            _ if any("visual.trunk.stages.") => "a ConvNeXt, MobileCLIP or ViTamin",
            _ => "a CLIP",
        };
        let text = if any("text.") {
            ", and whose text tower is that of a CustomTextCLIP (`text.`)"
        } else {
            ""
        };
        &format!("{what} whose image tower is timm's (`visual.trunk.`{bias}){text}")
    } else if OF_TRANSFORMERS.iter().any(|prefix| any(prefix)) {
        "a CLIP whose text tower is from transformers (`text.transformer.`), which needs its open_clip_config.json"
    } else if patches.is_some_and(|shape| shape.len() == 2) {
        "a NaFlex SigLIP 2 (`vision_model.embeddings.patch_embedding` is not a convolution)"
    } else if any("vision_model.head.") {
        &format!("a SigLIP (`vision_model.head.`{bias})")
    } else if has("patch_embed.proj.weight") || has("stem.0.weight") {
        "an image tower from timm without a text tower"
    } else if any("trunk.") {
        "a CLIP whose tensors are not named as OpenAI's, OpenCLIP's or transformers'"
    } else {
        return None;
    };
    Some(what.to_owned())
}
