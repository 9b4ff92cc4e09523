//! The shape of a CLIP from its tensors alone, as OpenAI's loader finds it: OpenAI's files and many state dicts of OpenCLIP come without a
//! configuration.

use frozen::Activation;
use weights::checkpoint::Checkpoint;

use crate::config::{
    ClipConfig, ConfigError, Layout, StackConfig, TextConfig, TextKind, TextPool, TextProjection,
    TokenRules, VisionConfig, VisionKind, VisionPool, VitConfig,
};
use crate::text;

/// The vocabulary of MetaCLIP 2, and the id of the token that ends its texts.
const WORLDWIDE: usize = 901_629;
const WORLDWIDE_END: u32 = 2;

/// Whether the weights show their nonlinearity: OpenAI's own files do, which were trained with QuickGELU.
pub fn tells_activation(checkpoint: &Checkpoint) -> bool {
    checkpoint.shape("input_resolution").is_some()
}

/// The configuration that the tensors of an OpenCLIP checkpoint imply.
pub fn config(checkpoint: &Checkpoint) -> Result<ClipConfig, ConfigError> {
    let shape = |key: &str, rank: usize| {
        (checkpoint.shape(key))
            .filter(|shape| shape.len() == rank && !shape.contains(&0))
            .ok_or_else(|| {
                format!("is missing, and the weights have no `{key}` to tell their shape by: only OpenAI's and OpenCLIP's names can be read without one")
            })
    };
    let has = |key: &str| checkpoint.shape(key).is_some();
    let activation = if tells_activation(checkpoint) {
        Activation::QuickGelu
    } else {
        Activation::Gelu
    };
    let prefix = match text::prefix(checkpoint, Layout::OpenClip) {
        "" => "",
        _ => "text.",
    };
    let count = |name: &dyn Fn(usize) -> String| {
        let numbers = 0..1000;
        numbers.take_while(|index| has(&name(*index))).count()
    };
    let stack = |prefix: &str, width: usize, head: usize| {
        let blocks = format!("{prefix}transformer.resblocks");
        let hidden = shape(&format!("{blocks}.0.mlp.c_fc.weight"), 2)?[0];
        Ok::<_, ConfigError>(StackConfig {
            width,
            hidden,
            layers: count(&|index| format!("{blocks}.{index}.attn.in_proj_weight")),
            heads: (width / head).max(1),
            activation,
            eps: 1e-5,
            layer_scale: has(&format!("{blocks}.0.ls_1.gamma")),
        })
    };
    let linear = format!("{prefix}text_projection.weight");
    let (text_projection, [projection, width]) = match checkpoint.shape(&linear) {
        Some(&[outputs, inputs]) => (TextProjection::Linear, [outputs, inputs]),
        _ => {
            let matrix = shape(&format!("{prefix}text_projection"), 2)?;
            (TextProjection::Matrix, [matrix[1], matrix[0]])
        }
    };
    if has("logit_bias") {
        return Err(unsaid(
            "have a `logit_bias`, as SigLIP's and those trained like it",
        ));
    }
    let vision = if has("visual.proj") {
        if !has("visual.ln_pre.weight") {
            return Err(unsaid("have no `visual.ln_pre`, as CLIPA's"));
        }
        let conv = shape("visual.conv1.weight", 4)?;
        // OpenCLIP's largest towers have wider heads
        let head = match conv[0] {
            1280 => 80,
            1408 => 88,
            1664 => 104,
            _ => 64,
        };
        let grid = side(shape("visual.positional_embedding", 2)?[0])?;
        VisionConfig {
            image_size: grid.saturating_mul(conv[3]),
            kind: VisionKind::Transformer(VitConfig {
                patch: conv[3],
                stack: stack("visual.", conv[0], head)?,
                class_token: true,
                patch_bias: false,
                pre_norm: true,
                pool: VisionPool::ClassToken,
            }),
        }
    } else {
        let width = shape("visual.layer1.0.conv1.weight", 4)?[0];
        let grid = side(shape("visual.attnpool.positional_embedding", 2)?[0])?;
        let blocks =
            |stage: usize| count(&|index| format!("visual.layer{stage}.{index}.conv1.weight"));
        VisionConfig {
            image_size: grid.saturating_mul(32),
            kind: VisionKind::ResNet {
                layers: [1, 2, 3, 4].map(blocks),
                width,
                heads: (width.saturating_mul(32) / 64).max(1),
            },
        }
    };
    let vocabulary = shape(&format!("{prefix}token_embedding.weight"), 2)?[0];
    let text = TextConfig {
        kind: TextKind::Clip,
        vocabulary,
        context: shape(&format!("{prefix}positional_embedding"), 2)?[0],
        stack: stack(prefix, width, 64)?,
        causal: true,
        pool: match vocabulary {
            WORLDWIDE => TextPool::Token(WORLDWIDE_END),
            _ => TextPool::Highest,
        },
        projection: text_projection,
        tokens: TokenRules::default(),
    };
    ClipConfig::new(Layout::OpenClip, projection, vision, text).checked()
}

/// The error for weights that need a configuration because no tensor shows how tokens are pooled.
fn unsaid(what: &str) -> ConfigError {
    format!(
        "is missing, and the weights {what}: they do not show how tokens are pooled; put the model's open_clip_config.json into their folder and use the folder instead of the file"
    )
}

/// The side of a square grid with one more token.
fn side(tokens: usize) -> Result<usize, ConfigError> {
    let side = tokens.saturating_sub(1).isqrt();
    if side * side + 1 != tokens {
        return Err(format!(
            "is missing, and {tokens} positions are not a square and one more"
        ));
    }
    Ok(side)
}
