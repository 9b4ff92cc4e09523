//! `open_clip_config.json`: the keys of open_clip 3.3, with its defaults.

use frozen::Activation;
use serde::Deserialize;
use serde_json::{Value, json};

use super::section::{Section, channels, square};
use super::{
    ClipConfig, ConfigError, HfTextConfig, Layout, MEAN, STD, StackConfig, TextCleaning,
    TextConfig, TextFrame, TextKind, TextPool, TextProjection, TimmConfig, TokenRules,
    VisionConfig, VisionKind, VisionPool, VitConfig,
};
use crate::preprocess::{Interpolation, ResizeMode};

/// Keys that add tensors to a tower's blocks. No published weights use them.
pub(super) const CUSTOM_BLOCKS: [&str; 6] = [
    "qk_norm",
    "scaled_cosine_attn",
    "scale_heads",
    "scale_attn_inner",
    "scale_attn",
    "scale_fc",
];

#[derive(Deserialize)]
#[serde(untagged)]
enum Layers {
    Blocks(usize),
    Stages([usize; 4]),
}

impl ClipConfig {
    /// From `open_clip_config.json`.
    ///
    /// # Errors
    /// If it describes another kind of model, or a key has an unsupported value. Unknown keys are refused, as open_clip does.
    pub fn open_clip(config: &str) -> Result<Self, ConfigError> {
        let mut file = Section::root(config)?;
        let mut model = (file.section("model_cfg")?).ok_or("has no `model_cfg`")?;
        let vision = model.section("vision_cfg")?;
        let text = model.section("text_cfg")?;
        let (Some(vision), Some(text)) = (vision, text) else {
            return Err("has no `model_cfg.vision_cfg` or no `model_cfg.text_cfg`".to_owned());
        };
        let projection = (model.take("embed_dim")?).ok_or("has no `model_cfg.embed_dim`")?;
        let quick = model.take_or("quick_gelu", false)?;
        // the weights show where the text tower's tensors are, and the shape of the scale and the bias
        model.ignore(&[
            "custom_text",
            "init_logit_scale",
            "init_logit_bias",
            "nonscalar_logit_scale",
            "cast_dtype",
            "output_dict",
            // of CoCa's decoder, which writes captions
            "multimodal_cfg",
            "pad_id",
        ]);
        model.finish()?;

        let vision = vision_tower(vision, quick)?;
        let text = text_tower(text, quick)?;
        let mut config = Self::new(Layout::OpenClip, projection, vision, text);
        if let Some(section) = file.section("preprocess_cfg")? {
            config.read_preprocess(section)?;
        }
        config.checked()
    }

    fn read_preprocess(&mut self, mut section: Section) -> Result<(), ConfigError> {
        self.preprocess.interpolation = section.choice(
            "interpolation",
            Interpolation::Bicubic,
            &[
                ("bicubic", Interpolation::Bicubic),
                ("bilinear", Interpolation::Bilinear),
                // random in training only
                ("random", Interpolation::Bicubic),
            ],
        )?;
        self.preprocess.resize_mode = section.choice(
            "resize_mode",
            ResizeMode::Shortest,
            &[
                ("shortest", ResizeMode::Shortest),
                ("squash", ResizeMode::Squash),
                ("longest", ResizeMode::Longest),
            ],
        )?;
        self.mean = channels(&mut section, "mean", MEAN)?;
        self.std = channels(&mut section, "std", STD)?;
        self.preprocess.fill_color = channels(&mut section, "fill_color", [0; 3])?;
        section.only("mode", json!("RGB"))?;
        // open_clip always uses the image tower's size
        section.ignore(&["size"]);
        section.finish()
    }
}

/// A name; open_clip treats an empty one as missing.
fn name(section: &mut Section, key: &str) -> Result<Option<String>, ConfigError> {
    let name: Option<String> = section.take(key)?;
    Ok(name.filter(|name| !name.is_empty()))
}

fn vision_tower(mut section: Section, quick: bool) -> Result<VisionConfig, ConfigError> {
    if let Some(name) = name(&mut section, "timm_model_name")? {
        // open_clip never uses QuickGELU in them
        return Ok(VisionConfig {
            image_size: square(&mut section, "image_size", 224)?,
            kind: VisionKind::Timm(TimmConfig::read(name, section)?),
        });
    }
    let layers = section.take_or("layers", Layers::Blocks(12))?;
    let width: usize = section.take_or("width", 768)?;
    let head_width: usize = section.take_or("head_width", 64)?;
    let image_size = square(&mut section, "image_size", 224)?;
    let patch = square(&mut section, "patch_size", 16)?;
    let ratio: f64 = section.take_or("mlp_ratio", 4.0)?;
    let pool_heads = section.take_or("attn_pooler_heads", 8)?;
    // for training, for outputs other than the embedding, or for towers from timm
    section.ignore(&[
        "patch_dropout",
        "output_tokens",
        "attn_pooler_queries",
        "timm_model_pretrained",
        "timm_pool",
        "timm_proj",
        "timm_proj_bias",
        "timm_drop",
        "timm_drop_path",
    ]);
    let layers = match layers {
        Layers::Blocks(layers) => layers,
        Layers::Stages(layers) => {
            // open_clip passes none of these on to a ModifiedResNet
            section.ignore(&CUSTOM_BLOCKS);
            section.ignore(&[
                "ls_init_value",
                "attentional_pool",
                "no_ln_pre",
                "pos_embed_type",
                "final_ln_after_pool",
                "pool_type",
                "act_kwargs",
                "norm_kwargs",
                "block_type",
            ]);
            section.finish()?;
            let heads = (width * 32).checked_div(head_width).unwrap_or(0);
            return Ok(VisionConfig {
                image_size,
                kind: VisionKind::ResNet {
                    layers,
                    width,
                    heads,
                },
            });
        }
    };
    let stack = StackConfig {
        width,
        hidden: (width as f64 * ratio) as usize,
        layers,
        heads: width.checked_div(head_width).unwrap_or(0),
        activation: activation(&mut section, quick)?,
        eps: eps(&mut section)?,
        layer_scale: section.take::<f64>("ls_init_value")?.is_some(),
    };
    // a fixed embedding is stored in the weights as a learned one is
    section.choice(
        "pos_embed_type",
        (),
        &[("learnable", ()), ("sin_cos_2d", ())],
    )?;
    let mean = if section.take_or("final_ln_after_pool", false)? {
        VisionPool::NormalizedMean
    } else {
        VisionPool::MeanOfNormalized
    };
    let class = VisionPool::ClassToken;
    let mut pool = section.choice("pool_type", class, &[("tok", class), ("avg", mean)])?;
    let key = section.name("attentional_pool");
    match section.take::<Value>("attentional_pool")? {
        None | Some(Value::Bool(false)) => {}
        // of the queries' tokens the first is then taken
        Some(Value::Bool(true)) if pool == class => {
            pool = VisionPool::Attention { heads: pool_heads };
        }
        Some(Value::Bool(true)) => {
            let other = section.name("pool_type");
            return Err(format!(
                "has {key} and {other} = `avg`, which is not supported"
            ));
        }
        Some(other) => {
            return Err(format!("has {key} = {other}; supported: true, false"));
        }
    }
    let vit = VitConfig {
        patch,
        stack,
        class_token: true,
        patch_bias: false,
        pre_norm: !section.take_or("no_ln_pre", false)?,
        pool,
    };
    plain_blocks(&mut section)?;
    section.finish()?;
    Ok(VisionConfig {
        image_size,
        kind: VisionKind::Transformer(vit),
    })
}

fn text_tower(mut section: Section, quick: bool) -> Result<TextConfig, ConfigError> {
    let hf = match name(&mut section, "hf_model_name")? {
        Some(name) => Some(HfTextConfig::read(&name, &mut section)?),
        None => None,
    };
    let width: usize = section.take_or("width", 512)?;
    let ratio: f64 = section.take_or("mlp_ratio", 4.0)?;
    let stack = StackConfig {
        width,
        hidden: (width as f64 * ratio) as usize,
        layers: section.take_or("layers", 12)?,
        heads: section.take_or("heads", 8)?,
        activation: activation(&mut section, quick)?,
        eps: eps(&mut section)?,
        layer_scale: section.take::<f64>("ls_init_value")?.is_some(),
    };
    let end = section.take_or("eos_id", 2)?;
    let pool = section.choice(
        "pool_type",
        TextPool::Highest,
        &[
            ("argmax", TextPool::Highest),
            ("eos", TextPool::Token(end)),
            ("first", TextPool::First),
            ("last", TextPool::Last),
        ],
    )?;
    let bias = section.take_or("proj_bias", false)?;
    let projection = match section.take_or("proj_type", "linear".to_owned())?.as_str() {
        "none" => TextProjection::None,
        // any other word is a linear projection to open_clip
        _ if bias => TextProjection::Linear,
        _ => TextProjection::Matrix,
    };
    let own = name(&mut section, "hf_tokenizer_name")?.is_some() || hf.is_some();
    let mut tokens = token_rules(&mut section, own)?;
    if let Some((hf, _)) = &hf {
        tokens.frame = hf.frame();
    }
    section.only("tokenizer_mode", json!(""))?;
    plain_blocks(&mut section)?;
    let causal = !section.take_or("no_causal_mask", false)?;
    let class = section.name("embed_cls");
    let is_coca = section.take_or("embed_cls", false)?;
    let padding = section.take_or("pad_id", 0)?;
    if is_coca && (!causal || stack.layer_scale || projection != TextProjection::Matrix) {
        return Err(format!(
            "has {class} with `no_causal_mask`, `ls_init_value`, `proj_bias` or `proj_type`, which is not supported"
        ));
    }
    let (kind, pool) = match hf {
        Some((hf, pool)) => (TextKind::Hf(hf), pool),
        // whatever `pool_type` is
        None if is_coca => (TextKind::Coca { padding }, TextPool::Last),
        None => (TextKind::Clip, pool),
    };
    let config = TextConfig {
        kind,
        vocabulary: section.take_or("vocab_size", 49408)?,
        context: section.take_or("context_length", 77)?,
        stack,
        causal,
        pool,
        projection,
        tokens,
    };
    // for outputs other than the embedding, for towers from transformers, or never used by open_clip (`final_ln_after_pool`)
    section.ignore(&[
        "output_tokens",
        "final_ln_after_pool",
        "hf_model_pretrained",
        "hf_proj_type",
        "hf_pooler_type",
    ]);
    section.finish()?;
    Ok(config)
}

/// What happens to texts before and to tokens after tokenization. `own`: whether the folder's tokenizer is used instead of CLIP's.
fn token_rules(text: &mut Section, own: bool) -> Result<TokenRules, ConfigError> {
    let mut rules = TokenRules {
        cleaning: if own {
            TextCleaning::Whitespace
        } else {
            TextCleaning::Tokenizer
        },
        own_tokenizer: own,
        ..TokenRules::default()
    };
    let Some(mut section) = text.section("tokenizer_kwargs")? else {
        return Ok(rules);
    };
    let mut choices = vec![
        ("canonicalize", TextCleaning::Canonicalize),
        ("lower", TextCleaning::Lower),
    ];
    // CLIP's own tokenizer has lower-case tokens only
    if own {
        choices.push(("whitespace", TextCleaning::Whitespace));
    }
    rules.cleaning = section.choice("clean", rules.cleaning, &choices)?;
    if own {
        rules.strip_separator = section.take_or("strip_sep_token", false)?;
        // all SigLIPs, and only they, are canonicalized
        if rules.cleaning == TextCleaning::Canonicalize {
            rules.frame = TextFrame::End;
        }
    }
    section.only("reduction_mask", json!(""))?;
    section.finish()?;
    Ok(rules)
}

/// GELU, or its approximations.
fn activation(tower: &mut Section, quick: bool) -> Result<Activation, ConfigError> {
    let exact = if quick {
        Activation::QuickGelu
    } else {
        Activation::Gelu
    };
    let Some(mut section) = tower.section("act_kwargs")? else {
        return Ok(exact);
    };
    if quick && section.has("approximate") {
        return Err(format!(
            "has both {} and `quick_gelu`, which has no approximations",
            section.name("approximate")
        ));
    }
    let choices = [("none", Activation::Gelu), ("tanh", Activation::GeluTanh)];
    let chosen = section.choice("approximate", exact, &choices)?;
    section.finish()?;
    Ok(chosen)
}

/// The epsilon of layer norms.
fn eps(tower: &mut Section) -> Result<f64, ConfigError> {
    let Some(mut section) = tower.section("norm_kwargs")? else {
        return Ok(1e-5);
    };
    let eps = section.take_or("eps", 1e-5)?;
    section.only("elementwise_affine", json!(true))?;
    section.only("bias", json!(true))?;
    section.finish()?;
    Ok(eps)
}

/// Refuses blocks that differ from CLIP's.
fn plain_blocks(tower: &mut Section) -> Result<(), ConfigError> {
    tower.only("block_type", json!("default"))?;
    CUSTOM_BLOCKS
        .iter()
        .try_for_each(|key| tower.only(key, json!(false)))
}
