//! The convolutional encoder and decoder of VQGAN (Esser et al. 2021, appendix A), which latent diffusion took over.

use frozen::{
    Chain, Conv2d, Conv2dOptions, GroupNorm, Layer, Linear, Pad, Parallel, Residual, SelfAttention,
    UpsampleNearest,
};
use weights::checkpoint::{Branch, Checkpoint, CheckpointError};

use super::layers::FirstChannels;
use super::names::{Half, Names, codebook};
use super::{Affine, AutoencoderError, Config, Layout};
use crate::layers::{Loaded, Norm, NormStyle, OverPixels, conv, conv_with, linear, linear_of_conv};

/// Of every group norm in both frameworks.
const EPS: f64 = 1e-6;
/// Groups of every norm in taming-transformers.
const GROUPS: usize = 32;
/// Stable Diffusion's, the default without a configuration.
const SCALING: f64 = 0.18215;
/// No network has more levels.
const MOST_LEVELS: usize = 12;

/// The sizes of a VQGAN, or of an AutoencoderKL, which is one without a codebook.
#[derive(Clone, Debug, PartialEq)]
pub struct VqganConfig {
    /// Channels at each level, fine to coarse; each level has half the side of the one before it.
    pub levels: Vec<usize>,
    /// Residual blocks in each level of the encoder; the decoder has one more.
    pub blocks: usize,
    /// For each level, whether attention follows each of its blocks.
    pub attention: Vec<bool>,
    /// Whether there is attention between the two blocks in the middle.
    pub middle_attention: bool,
    /// Channels between encoder and decoder.
    pub latent: usize,
    /// Numbers in each code: channels of the latents outside of the network.
    pub code: usize,
    /// Codes in the codebook; 0 where there is none.
    pub codes: usize,
    /// Groups of every norm.
    pub groups: usize,
    /// Whether 1x1 convolutions lead from `latent` channels to `code` and back.
    pub quant_conv: bool,
    /// Whether the encoder outputs means and variances (AutoencoderKL).
    pub moments: bool,
    /// Latents outside of the network are `(latents - shift) * scale`, of variance about 1.
    pub scale: f64,
    /// What is subtracted from the latents.
    pub shift: f64,
    /// What a diffusion model multiplies latents in front of a codebook by (`scaling_factor` of a VQModel). Encoder and decoder leave it out, because
    /// codes are not scaled.
    pub latent_scale: f64,
    /// Whether the network's pictures lie in -1..=1; else in 0..=1 (aMUSEd's).
    pub symmetric: bool,
}

impl VqganConfig {
    /// `vqgan_imagenet_f16_1024` of taming-transformers: 16 x 16 pixels a latent, 1,024 codes.
    pub fn f16_1024() -> Self {
        Self {
            levels: vec![128, 128, 256, 256, 512],
            blocks: 2,
            attention: vec![false, false, false, false, true],
            middle_attention: true,
            latent: 256,
            code: 256,
            codes: 1024,
            groups: GROUPS,
            quant_conv: true,
            moments: false,
            scale: 1.0,
            shift: 0.0,
            latent_scale: 1.0,
            symmetric: true,
        }
    }

    /// Pixels along a side of one latent.
    pub fn factor(&self) -> usize {
        1 << (self.levels.len() - 1)
    }

    /// Of f32 numbers that the decoder's pullback keeps, for each pixel of the picture.
    pub(super) fn bytes_per_pixel(&self) -> usize {
        // a block keeps the inputs of its two norms; convolutions keep nothing
        let numbers = self.levels.iter().enumerate().map(|(level, channels)| {
            let kept = 2 * (self.blocks + 1) * channels;
            kept.div_ceil(1 << (2 * level))
        });
        4 * numbers.sum::<usize>()
    }

    /// The sizes of a checkpoint, from its configuration where there is one, else from its tensors' shapes.
    pub(super) fn find(
        checkpoint: &Checkpoint,
        names: &Names,
        config: Option<&Config>,
    ) -> Result<Self, AutoencoderError> {
        let inferred = Self::infer(checkpoint, names)?;
        match config {
            None => Ok(inferred),
            Some(config) => inferred.configured(config),
        }
    }

    fn infer(checkpoint: &Checkpoint, names: &Names) -> Result<Self, AutoencoderError> {
        let has = |key: String| checkpoint.shape(&key).is_some();
        // the shape of a tensor that the layers after it depend on
        let shape = |key: String, rank: usize| match checkpoint.shape(&key) {
            Some(shape) if shape.len() == rank => Ok(shape.to_vec()),
            // reading it gives the error: that it is missing, or of another rank
            _ => match checkpoint.tensor(&key, &vec![1; rank]) {
                Ok(tensor) => Ok(tensor.dims().to_vec()),
                Err(error) => Err(error),
            },
        };
        let half = Half::Encoder;
        let first = |level: usize| format!("{}.conv1.weight", names.block(half, (level, 0), 0));
        let depth = (0..MOST_LEVELS)
            .take_while(|&level| has(first(level)))
            .count()
            .max(1);
        let levels = (0..depth)
            .map(|level| Ok(shape(first(level), 4)?[0]))
            .collect::<Result<Vec<_>, CheckpointError>>()?;
        let blocks = (0..)
            .take_while(|&i| has(format!("{}.conv1.weight", names.block(half, (0, depth), i))))
            .count();
        let norm = if names.layout == Layout::Taming {
            "norm"
        } else {
            "group_norm"
        };
        let attention = (0..depth)
            .map(|level| {
                let attention = names.attention(half, (level, depth), 0);
                has(format!("{attention}.{norm}.weight"))
            })
            .collect();
        let middle = format!("{}.{norm}.weight", names.middle_attention(half));
        let latent = shape(names.half(Half::Decoder, "conv_in.weight"), 4)?[1];
        let quant_conv = has("post_quant_conv.weight".to_owned());
        let code = if quant_conv {
            shape("post_quant_conv.weight".to_owned(), 4)?[1]
        } else {
            latent
        };
        let moments = shape(names.half(half, "conv_out.weight"), 4)?[0] == 2 * latent;
        let codebook = codebook(|key| has(key.to_owned()));
        let codes = if moments && !has(codebook.to_owned()) {
            0
        } else {
            shape(codebook.to_owned(), 2)?[0]
        };
        let (scale, shift) = (if codes == 0 { SCALING } else { 1.0 }, 0.0);
        Ok(Self {
            levels,
            blocks,
            attention,
            middle_attention: has(middle),
            latent,
            code,
            codes,
            groups: GROUPS,
            quant_conv,
            moments,
            scale,
            shift,
            latent_scale: 1.0,
            symmetric: true,
        })
    }

    /// The sizes in a `config.json` of diffusers. Where a key is missing, the size inferred from the weights is kept.
    fn configured(mut self, config: &Config) -> Result<Self, AutoencoderError> {
        let get = |key: &str| config.json.get(key).filter(|value| !value.is_null());
        let count = |key: &str, default: usize| match get(key) {
            None => Ok(default),
            Some(value) => match value.as_u64() {
                Some(number) if (1..1 << 20).contains(&number) => Ok(number as usize),
                _ => Err(config.fault(format!("`{key}` is {value}, not a number of at least 1"))),
            },
        };
        for (key, read) in [
            ("act_fn", &["silu", "swish"][..]),
            ("norm_type", &["group"]),
        ] {
            if let Some(value) = get(key)
                && !value.as_str().is_some_and(|value| read.contains(&value))
            {
                return Err(config.fault(format!("`{key}` is {value}; {} is read", read[0])));
            }
        }
        if let Some(levels) = get("block_out_channels") {
            let numbers = levels.as_array().map_or(&[][..], Vec::as_slice);
            self.levels = numbers
                .iter()
                .filter_map(|number| Some(number.as_u64()? as usize))
                .collect();
            if !(1..=MOST_LEVELS).contains(&self.levels.len())
                || self.levels.len() != numbers.len()
                || self.levels.contains(&0)
            {
                return Err(config.fault(format!(
                    "`block_out_channels` is {levels}, not a list of 1 to {MOST_LEVELS} channel counts"
                )));
            }
            self.attention.resize(self.levels.len(), false);
        }
        if let Some(types) = get("down_block_types").and_then(|types| types.as_array()) {
            for (i, kind) in types.iter().enumerate().take(self.levels.len()) {
                self.attention[i] = match kind.as_str() {
                    Some("DownEncoderBlock2D") => false,
                    Some("AttnDownEncoderBlock2D") => true,
                    _ => {
                        return Err(config.fault(format!(
                            "`down_block_types` has {kind}; DownEncoderBlock2D and AttnDownEncoderBlock2D are read"
                        )));
                    }
                };
            }
        }
        self.blocks = count("layers_per_block", self.blocks)?;
        self.latent = count("latent_channels", self.latent)?;
        self.groups = count("norm_num_groups", self.groups)?;
        let number = |key: &str, default: f64| match get(key) {
            None => Ok(default),
            Some(value) => match value.as_f64() {
                Some(number) if number.is_finite() => Ok(number),
                _ => Err(config.fault(format!("`{key}` is {value}, not a number"))),
            },
        };
        let scale = number("scaling_factor", SCALING)?;
        if scale == 0.0 {
            return Err(config.fault("`scaling_factor` is 0".to_owned()));
        }
        if self.codes > 0 {
            self.codes = count("num_vq_embeddings", self.codes)?;
            self.code = match get("vq_embed_dim") {
                None => self.latent,
                Some(_) => count("vq_embed_dim", self.code)?,
            };
            self.latent_scale = scale;
        } else {
            self.scale = scale;
            self.shift = number("shift_factor", self.shift)?;
        }
        let is = |key: &str, default: bool| get(key).map_or(Some(default), |value| value.as_bool());
        if let Some(middle) = is("mid_block_add_attention", self.middle_attention) {
            self.middle_attention = middle;
        }
        // only aMUSEd has this key, whose networks were trained on pictures in 0..=1
        self.symmetric = is("lookup_from_codebook", false) != Some(true);
        Ok(self)
    }
}

/// What every block of one half of a network is read with.
struct Reader<'a> {
    weights: Branch<'a>,
    names: &'a Names,
    half: Half,
    groups: usize,
    wrap: [bool; 2],
}

impl<'a> Reader<'a> {
    fn new(
        weights: Branch<'a>,
        names: &'a Names,
        half: Half,
        config: &VqganConfig,
        wrap: [bool; 2],
    ) -> Self {
        Self {
            weights,
            names,
            half,
            groups: config.groups,
            wrap,
        }
    }

    /// Norm, silu, convolution, twice, with a shortcut.
    fn block(&self, name: &str, inputs: usize, outputs: usize) -> Loaded<Box<dyn Layer>> {
        let branch = Chain::new(vec![
            Box::new(self.norm(&format!("{name}.norm1"), inputs)?.then_silu()),
            Box::new(self.conv(&format!("{name}.conv1"), [inputs, outputs], 3)?),
            Box::new(self.norm(&format!("{name}.norm2"), outputs)?.then_silu()),
            Box::new(self.conv(&format!("{name}.conv2"), [outputs, outputs], 3)?),
        ]);
        if inputs == outputs {
            return Ok(Box::new(Residual(branch)));
        }
        let shortcut = format!("{name}.{}", self.names.shortcut());
        let shortcut = self.conv(&shortcut, [inputs, outputs], 1)?;
        Ok(Box::new(Parallel(branch, shortcut)))
    }

    fn attention(&self, name: &str, channels: usize) -> Loaded<Box<dyn Layer>> {
        let [norm, q, k, v, out] = self.names.attention_parts(name, self.weights);
        // a matrix, or the weight of a 1 x 1 convolution
        let part = |part: &str| -> Loaded<Linear> {
            let name = format!("{name}.{part}");
            let shape = self.weights.checkpoint().shape(&format!("{name}.weight"));
            if shape.is_some_and(|shape| shape.len() == 2) {
                linear(self.weights, &name, [channels, channels])
            } else {
                linear_of_conv(self.weights, &name, channels)
            }
        };
        let attention = SelfAttention::new(part(q)?, part(k)?, part(v)?, part(out)?, 1, false)?;
        Ok(Box::new(Residual(Chain::new(vec![
            Box::new(self.norm(&format!("{name}.{norm}"), channels)?),
            Box::new(OverPixels(attention)),
        ]))))
    }

    fn middle(
        &self,
        chain: &mut Vec<Box<dyn Layer>>,
        channels: usize,
        attention: bool,
    ) -> Loaded<()> {
        let (names, half) = (self.names, self.half);
        chain.push(self.block(&names.middle_block(half, 0), channels, channels)?);
        if attention {
            chain.push(self.attention(&names.middle_attention(half), channels)?);
        }
        chain.push(self.block(&names.middle_block(half, 1), channels, channels)?);
        Ok(())
    }

    fn last(&self, chain: &mut Vec<Box<dyn Layer>>, inputs: usize, outputs: usize) -> Loaded<()> {
        chain.push(Box::new(
            self.norm(&self.names.last_norm(self.half), inputs)?
                .then_silu(),
        ));
        let name = self.names.half(self.half, "conv_out");
        chain.push(Box::new(self.conv(&name, [inputs, outputs], 3)?));
        Ok(())
    }

    fn norm(&self, name: &str, channels: usize) -> Loaded<GroupNorm> {
        let style = NormStyle {
            groups: self.groups,
            eps: EPS,
        };
        Ok(Norm::load(self.weights, name, channels, style)?.layer()?)
    }

    fn conv(&self, name: &str, channels: [usize; 2], kernel: usize) -> Loaded<Conv2d> {
        Ok(conv(self.weights, name, channels, kernel)?.wrapping(self.wrap))
    }
}

/// Pictures in 0..=1 to latents, not yet quantised.
pub(super) fn encoder(
    weights: Branch<'_>,
    names: &Names,
    config: &VqganConfig,
    wrap: [bool; 2],
) -> Loaded<Chain> {
    let half = Half::Encoder;
    let reader = Reader::new(weights, names, half, config, wrap);
    let levels = config.levels.len();
    let mut chain: Vec<Box<dyn Layer>> = vec![];
    if config.symmetric {
        chain.push(Box::new(Affine {
            scale: 2.0,
            shift: -1.0,
        }));
    }
    let mut channels = config.levels[0];
    let name = names.half(half, "conv_in");
    chain.push(Box::new(reader.conv(&name, [3, channels], 3)?));
    for (level, &outputs) in config.levels.iter().enumerate() {
        for index in 0..config.blocks {
            let name = names.block(half, (level, levels), index);
            chain.push(reader.block(&name, channels, outputs)?);
            channels = outputs;
            if config.attention[level] {
                let name = names.attention(half, (level, levels), index);
                chain.push(reader.attention(&name, channels)?);
            }
        }
        if level + 1 < levels {
            let options = Conv2dOptions {
                stride: 2,
                ..Conv2dOptions::default()
            };
            let name = names.resize(half, (level, levels));
            // what both frameworks put in front of the convolution that halves the sides
            chain.push(Box::new(Pad::new([0, 1], [0, 1], wrap)));
            let square = [channels, channels];
            chain.push(Box::new(conv_with(weights, &name, square, 3, options)?));
        }
    }
    reader.middle(&mut chain, channels, config.middle_attention)?;
    let double = 1 + usize::from(config.moments);
    reader.last(&mut chain, channels, double * config.latent)?;
    if config.quant_conv {
        let name = "quant_conv";
        let channels = [double * config.latent, double * config.code];
        chain.push(Box::new(conv(weights, name, channels, 1)?));
    }
    if config.moments {
        chain.push(Box::new(FirstChannels {
            channels: config.code,
        }));
    }
    if let Some(scaled) = affine(config.scale, -config.shift * config.scale) {
        chain.push(Box::new(scaled));
    }
    Ok(Chain::new(chain))
}

/// Latents to pictures, about 0..=1.
pub(super) fn decoder(
    weights: Branch<'_>,
    names: &Names,
    config: &VqganConfig,
    wrap: [bool; 2],
) -> Loaded<Chain> {
    let half = Half::Decoder;
    let reader = Reader::new(weights, names, half, config, wrap);
    let levels = config.levels.len();
    let mut chain: Vec<Box<dyn Layer>> = vec![];
    if let Some(scaled) = affine(1.0 / config.scale, config.shift) {
        chain.push(Box::new(scaled));
    }
    if config.quant_conv {
        let name = "post_quant_conv";
        let channels = [config.code, config.latent];
        chain.push(Box::new(conv(weights, name, channels, 1)?));
    }
    let mut channels = config.levels[levels - 1];
    let name = names.half(half, "conv_in");
    chain.push(Box::new(reader.conv(
        &name,
        [config.latent, channels],
        3,
    )?));
    reader.middle(&mut chain, channels, config.middle_attention)?;
    for (level, &outputs) in config.levels.iter().rev().enumerate() {
        for index in 0..config.blocks + 1 {
            let name = names.block(half, (level, levels), index);
            chain.push(reader.block(&name, channels, outputs)?);
            channels = outputs;
            if config.attention[levels - 1 - level] {
                let name = names.attention(half, (level, levels), index);
                chain.push(reader.attention(&name, channels)?);
            }
        }
        if level + 1 < levels {
            let name = names.resize(half, (level, levels));
            chain.push(Box::new(UpsampleNearest::new(2)?));
            chain.push(Box::new(reader.conv(&name, [channels, channels], 3)?));
        }
    }
    reader.last(&mut chain, channels, 3)?;
    if config.symmetric {
        chain.push(Box::new(Affine {
            scale: 0.5,
            shift: 0.5,
        }));
    }
    Ok(Chain::new(chain))
}

/// `scale x + shift`, where that changes anything.
fn affine(scale: f64, shift: f64) -> Option<Affine> {
    (scale != 1.0 || shift != 0.0).then_some(Affine { scale, shift })
}

/// The classifier of a VQGAN trained with the Gumbel softmax, from its encoder's output to a score for each code.
pub(super) fn gumbel(weights: Branch<'_>, config: &VqganConfig) -> Loaded<Option<Box<dyn Layer>>> {
    let name = "quantize.proj";
    if !weights.has(&format!("{name}.weight")) {
        return Ok(None);
    }
    let scores = conv(weights, name, [config.code, config.codes], 1)?;
    Ok(Some(Box::new(scores)))
}
