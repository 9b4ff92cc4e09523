//! The names of a CLIP's tensors in both layouts.

use crate::config::Layout;

/// A name below a tower's prefix, as transformers and open_clip have it.
#[derive(Clone, Copy)]
pub struct Name(&'static str, &'static str);

impl Name {
    /// The name in that layout.
    pub fn of(self, layout: Layout) -> &'static str {
        match layout {
            Layout::HuggingFace => self.0,
            Layout::OpenClip => self.1,
        }
    }
}

/// The prefix of the image tower.
pub const VISION: Name = Name("vision_model", "visual");
pub const PATCHES: Name = Name("embeddings.patch_embedding.weight", "conv1.weight");
/// OpenCLIP's own towers have none.
pub const PATCH_BIAS: Name = Name("embeddings.patch_embedding.bias", "conv1.bias");
pub const CLASS: Name = Name("embeddings.class_embedding", "class_embedding");
pub const POSITIONS: Name = Name(
    "embeddings.position_embedding.weight",
    "positional_embedding",
);
// misspelt in transformers, and so in every checkpoint
pub const PRE_NORM: Name = Name("pre_layrnorm", "ln_pre");
pub const POST_NORM: Name = Name("post_layernorm", "ln_post");
/// Without a prefix.
pub const VISION_PROJECTION: Name = Name("visual_projection", "visual.proj");
pub const TOKENS: Name = Name(
    "embeddings.token_embedding.weight",
    "token_embedding.weight",
);
pub const FINAL_NORM: Name = Name("final_layer_norm", "ln_final");
pub const BLOCKS: Name = Name("encoder.layers", "transformer.resblocks");
/// Of a block: the norm before the attention, the norm before the MLP, the two layers of the MLP.
pub const NORM1: Name = Name("layer_norm1", "ln_1");
pub const NORM2: Name = Name("layer_norm2", "ln_2");
pub const UP: Name = Name("mlp.fc1", "mlp.c_fc");
pub const DOWN: Name = Name("mlp.fc2", "mlp.c_proj");

/// A name below a prefix, which may be empty.
pub fn under(prefix: &str, name: &str) -> String {
    match prefix {
        "" => name.to_owned(),
        _ => format!("{prefix}.{name}"),
    }
}
