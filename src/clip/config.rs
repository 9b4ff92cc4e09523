//! What a checkpoint's own configuration says of its shape.

mod hugging_face;
mod open_clip;
mod preprocessor;
mod section;

use frozen::Activation;

use super::preprocess::{Filter, Fit, Middle, Preprocess};
pub(super) use hugging_face::MODEL_TYPES;

/// The mean of CLIP's training images by channel, which its input is normalised with.
pub const MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
/// Their standard deviation.
pub const STD: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];

/// Under which names a checkpoint keeps its tensors.
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
    /// The filter that pictures are brought to the input's size with.
    pub filter: Filter,
    /// What is done to pictures that are not square.
    pub fit: Fit,
    /// What the shorter side, or with [`Fit::Squash`] both, is brought to before the middle is cut out: the input's side or more pixels.
    pub resized: usize,
    /// The colour of the bars of [`Fit::Pad`].
    pub fill: [u8; 3],
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
}

/// The shape of a vision transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct VitConfig {
    /// Side of a patch in pixels.
    pub patch: usize,
    /// The stack.
    pub stack: StackConfig,
    /// Whether tokens are normalised before the first block, as CLIP's are.
    pub pre_norm: bool,
    /// What of the last block's tokens is projected.
    pub pool: VisionPool,
}

/// How a vision transformer's tokens become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VisionPool {
    /// The class token, normalised: CLIP's.
    ClassToken,
    /// The mean of the patches' tokens, each of which is normalised before.
    MeanOfNormalized,
    /// The mean of the patches' tokens, normalised afterwards: CLIPA's.
    NormalizedMean,
}

/// The shape of a text tower.
#[derive(Clone, Debug, PartialEq)]
pub struct TextConfig {
    /// Number of tokens.
    pub vocabulary: usize,
    /// Longest text in tokens, begin and end among them.
    pub context: usize,
    /// The stack.
    pub stack: StackConfig,
    /// Whether a token sees those before it alone. If not, the padding behind a text changes its embedding.
    pub causal: bool,
    /// The token whose place holds the embedding.
    pub pool: TextPool,
    /// How that becomes an embedding.
    pub projection: TextProjection,
    /// What is done to texts and tokens before the tower reads them.
    pub tokens: TokenRules,
}

impl TextConfig {
    /// Whether the padding of a text changes its embedding, so that the tower has to read it.
    pub fn reads_padding(&self) -> bool {
        // the tokenizer's own padding may have the highest number of all, zero never does
        let highest = self.pool == TextPool::Highest && self.tokens.own_tokenizer;
        !self.causal || self.pool == TextPool::Last || highest
    }

    /// Whether its tokens are those that all of OpenAI's and most other CLIPs share.
    pub(super) fn reads_clip_tokens(&self) -> bool {
        !self.tokens.own_tokenizer && self.vocabulary == 49408
    }
}

/// The place of a text that holds its embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextPool {
    /// The first token of the highest number of the text, as in OpenAI's code.
    Highest,
    /// The first token of that number.
    Token(u32),
    /// The first token.
    First,
    /// The last token of the context, which is padding where the text is shorter.
    Last,
}

/// How a text tower's token becomes an embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextProjection {
    /// A matrix.
    Matrix,
    /// A matrix and a bias, stored as a linear layer is.
    Linear,
    /// It is the embedding.
    None,
}

/// What is done to a text, and to its tokens, that is not in a tokenizer's file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenRules {
    /// How the text is cleaned.
    pub cleaning: TextCleaning,
    /// Whether the tokenizer is another than CLIP's. Then texts are padded with its own padding, and not with zeros.
    pub own_tokenizer: bool,
    /// Whether the token that ends a sentence becomes a zero.
    pub strip_separator: bool,
}

/// How a text is cleaned before it becomes tokens: open_clip's `clean`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextCleaning {
    /// As the tokenizer itself does.
    #[default]
    Tokenizer,
    /// Any space is one space.
    Whitespace,
    /// That, and lower case.
    Lower,
    /// That, without ASCII punctuation.
    Canonicalize,
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
    /// Whether what each half of a block adds is scaled by channel (`ls_1.gamma` and `ls_2.gamma`).
    pub layer_scale: bool,
}

/// A configuration that cannot be used, in words that follow the file's name.
pub type ConfigError = String;

impl ClipConfig {
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
                patch, stack: s, ..
            }) => {
                stack("image tower", s)?;
                if *patch == 0 || size == 0 || !size.is_multiple_of(*patch) {
                    return Err(format!(
                        "has patches of {patch} pixels in an image of {size}, which they do not divide"
                    ));
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
        if size > 4096 || self.projection == 0 || self.projection > 1 << 16 {
            return Err("has impossible sizes".to_owned());
        }
        let widths = (self.text.stack.width, self.projection);
        if self.text.projection == TextProjection::None && widths.0 != widths.1 {
            return Err(format!(
                "has a text tower {} wide without a projection, and a joint space of {}",
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
}

impl ClipConfig {
    /// What a picture goes through before the image tower sees it.
    pub fn preprocess(&self) -> Preprocess {
        Preprocess {
            size: self.vision.image_size,
            resized: self.resized,
            filter: self.filter,
            fit: self.fit,
            fill: self.fill,
            middle: match self.layout {
                Layout::HuggingFace => Middle::Down,
                Layout::OpenClip => Middle::Even,
            },
        }
    }

    /// Changes the nonlinearity of the towers' transformers. A ResNet's image tower has another one, which stays.
    pub(super) fn use_activation(&mut self, activation: Activation) {
        self.text.stack.activation = activation;
        if let VisionKind::Transformer(vit) = &mut self.vision.kind {
            vit.stack.activation = activation;
        }
    }

    /// About how many bytes one image takes in the image tower while its gradient is computed: an upper estimate, to size
    /// micro-batches with.
    pub fn activation_bytes(&self) -> usize {
        let size = self.vision.image_size;
        let floats = match &self.vision.kind {
            VisionKind::Transformer(VitConfig { patch, stack, .. }) => {
                let tokens = (size / patch).pow(2) + 1;
                let scores = stack.heads * tokens * tokens;
                let block = tokens * (8 * stack.width + 3 * stack.hidden) + scores;
                stack.layers * block + 6 * size * size
            }
            VisionKind::ResNet { layers, width, .. } => {
                let pixels = (size / 4).pow(2);
                let blocks = layers.iter().sum::<usize>();
                8 * width * pixels * 4 + 14 * width * pixels * blocks
            }
        };
        4 * floats
    }
}
