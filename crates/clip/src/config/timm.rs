//! The keys of open_clip's `vision_cfg` for an image tower from timm.

use super::ConfigError;
use super::section::Section;
use crate::timm::models::{self, Family, Pool};
use crate::unsupported;

/// Keys of open_clip's own image towers, which it does not pass on to timm, and what only training needs.
const WITHOUT_EFFECT: &[&str] = &[
    "layers",
    "width",
    "head_width",
    "mlp_ratio",
    "patch_size",
    "ls_init_value",
    "patch_dropout",
    "attentional_pool",
    "attn_pooler_queries",
    "attn_pooler_heads",
    "no_ln_pre",
    "pos_embed_type",
    "final_ln_after_pool",
    "pool_type",
    "output_tokens",
    "act_kwargs",
    "norm_kwargs",
    "block_type",
    "timm_model_pretrained",
    "timm_drop",
    "timm_drop_path",
];

/// An image tower from timm, as open_clip wraps it. Its sizes are those of its tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct TimmConfig {
    /// Its name in timm.
    pub name: String,
    pub(crate) family: Family,
    pub(crate) pool: Pool,
    /// How its features become an embedding.
    pub head: TimmHead,
}

/// How a tower's features become an embedding: open_clip's `timm_proj`, with `timm_proj_bias`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimmHead {
    /// The tower's own classifier, a linear layer with a bias.
    Classifier,
    /// A linear layer.
    Linear {
        /// Whether it has a bias.
        bias: bool,
    },
    /// A hidden layer of twice the joint space's width, GELU, a linear layer.
    Mlp {
        /// Whether the second layer has a bias.
        bias: bool,
    },
    /// None: the features are the embedding.
    None,
}

impl TimmConfig {
    /// From `vision_cfg`, without its `timm_model_name` and `image_size`.
    pub(super) fn read(name: String, mut section: Section) -> Result<Self, ConfigError> {
        let Some(family) = models::find(&name) else {
            if name.contains("naflex") {
                return Err(format!(
                    "describes a NaFlex CLIP, which is not supported: its image tower is timm's `{name}` (`timm_model_name`), for pictures of any shape; use a model of fixed resolution"
                ));
            }
            return Err(format!(
                "describes {}: its image tower is timm's `{name}` (`timm_model_name`); {}",
                unsupported::timm_family(&name),
                known(&name)
            ));
        };
        let pools = family.pools();
        let key = section.name("timm_pool");
        let wanted = section.take_or("timm_pool", "avg".to_owned())?;
        let pool = pools.iter().find(|(known, _)| *known == wanted);
        let pool = pool.ok_or_else(|| {
            let known: Vec<_> = pools
                .iter()
                .map(|(known, _)| format!("`{known}`"))
                .collect();
            format!(
                "has {key} = `{wanted}`; supported for `{name}`: {}",
                known.join(", ")
            )
        })?;
        let bias = section.take_or("timm_proj_bias", false)?;
        let head = section.choice(
            "timm_proj",
            // the key's default is `linear`, but null is no projection
            if section.is_null("timm_proj") {
                TimmHead::Classifier
            } else {
                TimmHead::Linear { bias }
            },
            &[
                ("linear", TimmHead::Linear { bias }),
                ("mlp", TimmHead::Mlp { bias }),
                ("none", TimmHead::None),
                ("", TimmHead::Classifier),
            ],
        )?;
        // without layers of its own, open_clip hands an empty key on to timm instead of leaving timm's default
        if wanted.is_empty() && matches!(head, TimmHead::None | TimmHead::Classifier) {
            return Err(format!(
                "has an empty {key} without a projection (`timm_proj`), which pools nothing"
            ));
        }
        section.ignore(WITHOUT_EFFECT);
        section.ignore(&super::open_clip::CUSTOM_BLOCKS);
        section.finish()?;
        Ok(Self {
            name,
            family,
            pool: pool.1,
            head,
        })
    }
}
/// How many towers are known, and those whose names are most like this one, as part of a sentence.
fn known(name: &str) -> String {
    const SHOWN: usize = 4;
    let mut names: Vec<&str> = models::names().collect();
    let likeness = |known: &str| strsim::jaro_winkler(known, name);
    names.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
    let nearest: Vec<String> = (names.iter().take(SHOWN))
        .map(|name| format!("`{name}`"))
        .collect();
    let count = names.len();
    format!("{count} are known, the nearest {}", nearest.join(", "))
}
