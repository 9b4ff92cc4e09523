//! What a checkpoint's own configuration says of its shape.

mod hugging_face;
mod open_clip;
mod preprocessor;
mod section;
mod text_hf;
mod timm;

use frozen::Activation;

use crate::preprocess::{CropRounding, Preprocess};

pub use text_hf::{HfFamily, HfProjection, HfTextConfig};
pub use timm::{TimmConfig, TimmHead};

/// The mean of CLIP's training images by channel, which its input is normalised with.
pub const MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
/// Their standard deviation.
pub const STD: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];

/// The names of a checkpoint's tensors, and the library whose rules for texts and pictures apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// transformers' CLIPModel: `vision_model.encoder.layers.0.self_attn.q_proj.weight`
    HuggingFace,
    /// open_clip, and OpenAI's own: `visual.transformer.resblocks.0.attn.in_proj_weight`
    OpenClip,
}

/// The shape of a CLIP.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipConfig {
    /// The names of its tensors.
    pub layout: Layout,
    /// Width of the joint space.
    pub projection: usize,
    /// The image tower.
    pub vision: VisionConfig,
    /// The text tower.
    pub text: TextConfig,
    /// Mean of the input by channel.
    pub mean: [f64; 3],
    /// Standard deviation of the input by channel.
    pub std: [f64; 3],
    /// How pictures are preprocessed.
    pub preprocess: Preprocess,
}

/// The shape of an image tower.
#[derive(Clone, Debug, PartialEq)]
pub struct VisionConfig {
    /// Side of the input in pixels.
    pub image_size: usize,
    /// What it is made of.
    pub kind: VisionKind,
}

/// What an image tower is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum VisionKind {
    /// A vision transformer.
    Transformer(VitConfig),
    /// CLIP's ModifiedResNet.
    ResNet {
        /// Blocks in each of the four stages.
        layers: [usize; 4],
        /// Channels after the stem.
        width: usize,
        /// Heads of the attention pooling.
        heads: usize,
    },
    /// A network from timm.
    Timm(TimmConfig),
}

/// The shape of a vision transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct VitConfig {
    /// Side of a patch in pixels.
    pub patch: usize,
    /// The stack.
    pub stack: StackConfig,
    /// Whether a class token precedes the patches, as in CLIP.
    pub class_token: bool,
    /// Whether patches have a bias; CLIP's have none.
    pub patch_bias: bool,
    /// Whether tokens are normalised before the first block, as CLIP's are.
    pub pre_norm: bool,
    /// Which of the last block's tokens are projected.
    pub pool: VisionPool,
}

/// How a vision transformer's tokens become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VisionPool {
    /// The normalised class token, as in CLIP.
    ClassToken,
    /// The mean of the normalised patch tokens.
    MeanOfNormalized,
    /// The normalised mean of the patch tokens, as in CLIPA.
    NormalizedMean,
    /// Attention of a learned query to the normalised tokens, then an MLP, as in SigLIP. The result is the embedding: there is no projection.
    Map,
    /// Attention of a learned query to the normalised tokens, as in CoCa.
    Attention {
        /// Heads of the attention.
        heads: usize,
    },
}

/// The shape of a text tower.
#[derive(Clone, Debug, PartialEq)]
pub struct TextConfig {
    /// What it is made of.
    pub kind: TextKind,
    /// Number of tokens. A tower from transformers has as many as its tensors.
    pub vocabulary: usize,
    /// Longest text in tokens, begin and end among them.
    pub context: usize,
    /// The sizes of its transformer. Not used for a tower from transformers ([`TextKind::Hf`]), whose sizes are read from its tensors.
    pub stack: StackConfig,
    /// Whether a token attends only to itself and earlier tokens. If not, the padding after a text changes its embedding.
    pub causal: bool,
    /// The token that the embedding is taken from.
    pub pool: TextPool,
    /// How that becomes an embedding.
    pub projection: TextProjection,
    /// How texts are cleaned and tokens are padded.
    pub tokens: TokenRules,
}

/// What a text tower is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TextKind {
    /// CLIP's text transformer.
    #[default]
    Clip,
    /// An encoder from transformers.
    Hf(HfTextConfig),
    /// CLIP's text transformer with a class token behind the padded text, as in CoCa.
    Coca {
        /// The id of the padding, which is not attended to.
        padding: u32,
    },
}

impl TextConfig {
    /// Whether the padding of a text changes its embedding, so that it must be computed.
    pub fn reads_padding(&self) -> bool {
        match self.kind {
            // these towers mask it
            TextKind::Hf(_) => return false,
            // one token of it is attended to
            TextKind::Coca { .. } => return true,
            TextKind::Clip => {}
        }
        // the tokenizer's own padding token may have the highest id of all; zero never has
        let highest = self.pool == TextPool::Highest && self.tokens.own_tokenizer;
        !self.causal || self.pool == TextPool::Last || highest
    }

    /// Whether it uses the tokenizer of OpenAI's and most other CLIPs.
    pub(super) fn reads_clip_tokens(&self) -> bool {
        !self.tokens.own_tokenizer && self.vocabulary == 49408
    }
}

/// The token of a text that its embedding is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextPool {
    /// The first token with the highest id in the text, as in OpenAI's code.
    Highest,
    /// The first token with this id.
    Token(u32),
    /// The first token.
    First,
    /// The mean of all tokens without padding; of towers from transformers alone.
    Mean,
    /// The last token of the context, which is padding if the text is shorter.
    Last,
}

/// How a text tower's token becomes an embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextProjection {
    /// A matrix.
    Matrix,
    /// A linear layer with a bias.
    Linear,
    /// No projection: the token is the embedding.
    None,
}

/// Steps before and after tokenization that are not in a tokenizer's file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenRules {
    /// How the text is cleaned.
    pub cleaning: TextCleaning,
    /// Whether the tokenizer is another than CLIP's. Then texts are padded with its own padding token instead of zeros.
    pub own_tokenizer: bool,
    /// Whether the separator token is replaced by 0.
    pub strip_separator: bool,
    /// The tokens around every text.
    pub frame: TextFrame,
}

/// The tokens around every text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextFrame {
    /// As the tokenizer's file says.
    #[default]
    File,
    /// As in the training of SigLIP: nothing before a text, its `eos_token` behind it, padding after that. The files of a re-saved tokenizer may
    /// lack the end, add a beginning, or pad on the left.
    End,
    /// The code of the language, English where the files do not say, before a text, its `eos_token` behind it: NLLB's. Its published file has the
    /// code behind the end, which transformers corrects.
    Language,
}

impl TokenRules {
    /// The rules of SigLIP and SigLIP 2, whose texts are cleaned so.
    pub fn siglip(cleaning: TextCleaning) -> Self {
        Self {
            cleaning,
            own_tokenizer: true,
            strip_separator: false,
            frame: TextFrame::End,
        }
    }
}

/// How a text is cleaned before tokenization: open_clip's `clean`, or what a tokenizer of transformers does that its file does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextCleaning {
    /// The default of the tokenizer's class.
    #[default]
    Tokenizer,
    /// Each run of white space becomes one space.
    Whitespace,
    /// [`TextCleaning::Whitespace`] in lower case.
    Lower,
    /// [`TextCleaning::Lower`] without ASCII punctuation.
    Canonicalize,
    /// transformers' `SiglipTokenizer`: lower case, no ASCII punctuation, single spaces.
    Siglip,
    /// transformers' `Siglip2Tokenizer`: lower case.
    Siglip2,
}

/// The shape of a transformer's stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StackConfig {
    /// Width of a token.
    pub width: usize,
    /// Width of the hidden layer between.
    pub hidden: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Heads of the attention.
    pub heads: usize,
    /// The nonlinearity.
    pub activation: Activation,
    /// Added to the variance in layer norms.
    pub eps: f64,
    /// Whether the outputs of attention and MLP are scaled by channel (LayerScale: `ls_1.gamma`, `ls_2.gamma`).
    pub layer_scale: bool,
}

/// A configuration that cannot be used, in words that follow the file's name.
pub type ConfigError = String;

impl ClipConfig {
    /// With CLIP's mean and standard deviation, and the preprocessing of the layout's library.
    pub(super) fn new(
        layout: Layout,
        projection: usize,
        vision: VisionConfig,
        text: TextConfig,
    ) -> Self {
        let crop_rounding = match layout {
            Layout::HuggingFace => CropRounding::Floor,
            Layout::OpenClip => CropRounding::HalfEven,
        };
        Self {
            layout,
            projection,
            preprocess: Preprocess::new(vision.image_size, crop_rounding),
            vision,
            text,
            mean: MEAN,
            std: STD,
        }
    }

    /// Sizes that no network could have are refused here, before they are divided by or allocated.
    pub(super) fn checked(self) -> Result<Self, ConfigError> {
        let stack = |name: &str, s: &StackConfig| {
            let sizes = [s.width, s.hidden, s.layers, s.heads];
            if sizes.iter().any(|size| !(1..=1 << 16).contains(size)) {
                return Err(format!("has impossible sizes in its {name}: {s:?}"));
            }
            if !s.width.is_multiple_of(s.heads) {
                return Err(format!(
                    "has {} heads for a width of {} in its {name}, which they do not divide",
                    s.heads, s.width
                ));
            }
            Ok(())
        };
        stack("text tower", &self.text.stack)?;
        let size = self.vision.image_size;
        match &self.vision.kind {
            VisionKind::Transformer(VitConfig {
                patch,
                stack: s,
                pool,
                ..
            }) => {
                stack("image tower", s)?;
                // pixels that fill no patch are not seen
                if *patch == 0 || *patch > size {
                    return Err(format!(
                        "has patches of {patch} pixels in an image of {size}"
                    ));
                }
                if *pool == VisionPool::Map && s.width != self.projection {
                    return Err(format!(
                        "has an image tower of width {} without a projection, which does not match the joint space of {}",
                        s.width, self.projection
                    ));
                }
            }
            // its sizes are those of its tensors
            VisionKind::Timm(_) => {
                if size == 0 {
                    return Err("has an image size of 0".to_owned());
                }
            }
            VisionKind::ResNet { width, heads, .. } => {
                if size == 0 || !size.is_multiple_of(32) {
                    return Err(format!(
                        "has an image size of {size}, which 32 does not divide"
                    ));
                }
                if *width == 0
                    || !width.is_multiple_of(2)
                    || *heads == 0
                    || !(width * 32).is_multiple_of(*heads)
                {
                    return Err(format!(
                        "has an impossible width of {width} with {heads} heads"
                    ));
                }
            }
        }
        let sizes = [self.projection, self.text.context];
        if size > 4096 || sizes.iter().any(|size| !(1..=1 << 16).contains(size)) {
            return Err("has impossible sizes".to_owned());
        }
        let widths = (self.text.stack.width, self.projection);
        if self.text.projection == TextProjection::None && widths.0 != widths.1 {
            return Err(format!(
                "has a text tower of width {} without a projection, which does not match the joint space of {}",
                widths.0, widths.1
            ));
        }
        if self.text.context < 3 || self.text.vocabulary == 0 {
            return Err("has a text tower without room for a word".to_owned());
        }
        if self.std.iter().any(|s| !s.is_finite() || *s <= 0.0) {
            return Err("has a standard deviation that is not positive".to_owned());
        }
        Ok(self)
    }

    /// Changes the nonlinearity of the towers' transformers, but not that of a ResNet image tower or one from timm.
    pub(super) fn use_activation(&mut self, activation: Activation) {
        self.text.stack.activation = activation;
        if let VisionKind::Transformer(vit) = &mut self.vision.kind {
            vit.stack.activation = activation;
        }
    }
}
