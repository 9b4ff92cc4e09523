//! The names of a CLIP's tensors in both layouts.

use crate::config::Layout;

/// Names below a tower's prefix.
pub struct TensorNames {
    /// The prefix of the image tower.
    pub vision: &'static str,
    pub patches: &'static str,
    pub class: &'static str,
    pub patch_positions: &'static str,
    pub pre_norm: &'static str,
    pub post_norm: &'static str,
    /// Without a prefix.
    pub vision_projection: &'static str,
    pub tokens: &'static str,
    pub token_positions: &'static str,
    pub final_norm: &'static str,
    pub blocks: &'static str,
    /// Of a block: the norm before the attention, the norm before the MLP, the two layers of the MLP.
    pub norm1: &'static str,
    pub norm2: &'static str,
    pub up: &'static str,
    pub down: &'static str,
}

const HUGGING_FACE: TensorNames = TensorNames {
    vision: "vision_model",
    patches: "embeddings.patch_embedding.weight",
    class: "embeddings.class_embedding",
    patch_positions: "embeddings.position_embedding.weight",
    // misspelt in transformers, and so in every checkpoint
    pre_norm: "pre_layrnorm",
    post_norm: "post_layernorm",
    vision_projection: "visual_projection",
    tokens: "embeddings.token_embedding.weight",
    token_positions: "embeddings.position_embedding.weight",
    final_norm: "final_layer_norm",
    blocks: "encoder.layers",
    norm1: "layer_norm1",
    norm2: "layer_norm2",
    up: "mlp.fc1",
    down: "mlp.fc2",
};

const OPEN_CLIP: TensorNames = TensorNames {
    vision: "visual",
    patches: "conv1.weight",
    class: "class_embedding",
    patch_positions: "positional_embedding",
    pre_norm: "ln_pre",
    post_norm: "ln_post",
    vision_projection: "visual.proj",
    tokens: "token_embedding.weight",
    token_positions: "positional_embedding",
    final_norm: "ln_final",
    blocks: "transformer.resblocks",
    norm1: "ln_1",
    norm2: "ln_2",
    up: "mlp.c_fc",
    down: "mlp.c_proj",
};

impl TensorNames {
    pub fn of(layout: Layout) -> &'static Self {
        match layout {
            Layout::HuggingFace => &HUGGING_FACE,
            Layout::OpenClip => &OPEN_CLIP,
        }
    }
}

/// A name below a prefix, which may be empty.
pub fn under(prefix: &str, name: &str) -> String {
    match prefix {
        "" => name.to_owned(),
        _ => format!("{prefix}.{name}"),
    }
}
