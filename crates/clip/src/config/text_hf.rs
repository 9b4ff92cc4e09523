//! The keys of open_clip's `text_cfg` for a text tower from transformers.

use super::section::Section;
use super::{ConfigError, TextFrame, TextPool};

/// Keys of open_clip's own text towers, which it does not pass on to transformers, and what only training needs.
const WITHOUT_EFFECT: &[&str] = &[
    "width",
    "heads",
    "layers",
    "mlp_ratio",
    "ls_init_value",
    "vocab_size",
    "embed_cls",
    "pad_id",
    "eos_id",
    "no_causal_mask",
    "final_ln_after_pool",
    "pool_type",
    "proj_bias",
    "proj_type",
    "output_tokens",
    "act_kwargs",
    "norm_kwargs",
    "block_type",
    "hf_model_pretrained",
];

/// A text tower from transformers, as open_clip wraps it. Its sizes are those of its tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HfTextConfig {
    /// What its encoder is made of.
    pub family: HfFamily,
    /// How the pooled state of its tokens becomes an embedding.
    pub projection: HfProjection,
}

/// The kinds of encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HfFamily {
    /// RoBERTa and XLM-RoBERTa: learned positions, blocks that are normalised at their end.
    Roberta,
    /// The encoder of M2M100 and NLLB: sinusoidal positions, blocks that are normalised at their beginning.
    M2m100,
}

/// open_clip's `hf_proj_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HfProjection {
    /// A hidden layer of the mean of both widths, GELU, a linear layer; no biases.
    Mlp,
    /// A linear layer without a bias.
    Linear,
    /// None: the pooled state is the embedding.
    None,
}

/// The models whose encoders can be read, by the last part of their names.
const MODELS: [(&str, HfFamily); 5] = [
    ("roberta-base", HfFamily::Roberta),
    ("xlm-roberta-base", HfFamily::Roberta),
    ("xlm-roberta-large", HfFamily::Roberta),
    ("nllb-200-distilled-600m", HfFamily::M2m100),
    ("nllb-200-distilled-1.3b", HfFamily::M2m100),
];

impl HfTextConfig {
    /// From `text_cfg` without its `hf_model_name`, the name of the model; with the token that the embedding is taken from.
    pub(super) fn read(name: &str, section: &mut Section) -> Result<(Self, TextPool), ConfigError> {
        let own = name.rsplit('/').next().unwrap_or(name).to_lowercase();
        let known = MODELS.iter().find(|(known, _)| *known == own);
        let Some((_, family)) = known else {
            let names: Vec<&str> = MODELS.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "describes a CLIP whose text tower is `{name}` of transformers (`hf_model_name`); supported: {}",
                names.join(", ")
            ));
        };
        // the key's default is `mlp`, but null is no projection
        let default = if section.is_null("hf_proj_type") {
            HfProjection::None
        } else {
            HfProjection::Mlp
        };
        let key = present(section, ["hf_proj_type", "proj"]);
        let projection = section.choice(
            key,
            default,
            &[("mlp", HfProjection::Mlp), ("linear", HfProjection::Linear)],
        )?;
        let mut pools = vec![
            ("mean_pooler", TextPool::Mean),
            ("cls_last_hidden_state_pooler", TextPool::First),
        ];
        let mut default = TextPool::Mean;
        if *family == HfFamily::M2m100 {
            // RoBERTa has another layer for this, which M2M100 lacks
            pools.push(("cls_pooler", TextPool::First));
            if section.is_null("hf_pooler_type") {
                default = TextPool::First;
            }
        }
        let key = present(section, ["hf_pooler_type", "pooler_type"]);
        let pool = section.choice(key, default, &pools)?;
        section.ignore(WITHOUT_EFFECT);
        section.ignore(&super::open_clip::CUSTOM_BLOCKS);
        let family = *family;
        Ok((Self { family, projection }, pool))
    }

    /// The tokens around every text.
    pub(super) fn frame(&self) -> TextFrame {
        match self.family {
            HfFamily::Roberta => TextFrame::File,
            HfFamily::M2m100 => TextFrame::Language,
        }
    }
}

/// The name of a key that is present: the one of today, or that of open_clip before 2.24.
fn present<'a>(section: &Section, [now, before]: [&'a str; 2]) -> &'a str {
    if !section.has(now) && section.has(before) {
        before
    } else {
        now
    }
}
