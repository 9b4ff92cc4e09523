//! The tiny autoencoder TAESD and its family (madebyollin/taesd): plain convolutions and residual blocks with ReLU. TAEF2 has a
//! branch before its coarsest blocks that is normalised over the whole picture.
//!
//! Both layouts number the layers of a sequence. The kind of each layer follows from which numbers have tensors, and of what
//! shape: a block has `conv.0`, a convolution `weight`; numbers without tensors are activations or upsamplings.

use std::collections::BTreeSet;
use std::sync::Arc;

use candle_core::Device;
use frozen::{
    Activation, Chain, Conv2d, Conv2dOptions, GroupNorm, Layer, Parallel, Residual, UpsampleNearest,
};
use weights::checkpoint::{Branch, Checkpoint, CheckpointError};

use super::layers::SoftClamp;
use super::{Autoencoder, AutoencoderError, Layout};
use crate::layers::{Loaded, conv};

/// The latents' soft clamp.
const LIMIT: f64 = 3.0;
/// Tensors of the first blocks, one of which every half of the family has in its own layout.
pub(super) const MARKS: &[&str] = &["3.conv.0.weight", "4.conv.0.weight"];
/// Groups and epsilon of TAEF2's norms.
const POOL_GROUPS: usize = 4;
const POOL_EPS: f64 = 1e-5;

pub(super) fn read(
    layout: Layout,
    checkpoint: &Checkpoint,
    encoder: Option<&Checkpoint>,
    wrap: [bool; 2],
    device: &Device,
) -> Result<Autoencoder, AutoencoderError> {
    let inner = |half: &str| match layout {
        Layout::DiffusersTiny => format!("{half}.layers."),
        _ => String::new(),
    };
    let sequence = Sequence::new(Branch::root(checkpoint, device), inner("decoder"), wrap);
    let (decoder, sizes) = sequence.decoder()?;
    let encoder = match (layout, encoder) {
        (Layout::Taesd, None) => None,
        (Layout::Taesd, Some(encoder)) => Some(encoder),
        _ => Some(checkpoint).filter(|checkpoint| {
            let inner = inner("encoder");
            checkpoint.keys().any(|key| key.starts_with(&inner))
        }),
    };
    let encoder = match encoder {
        None => None,
        Some(checkpoint) => {
            let sequence = Sequence::new(Branch::root(checkpoint, device), inner("encoder"), wrap);
            let (encoder, factor) = sequence.encoder(sizes.latent)?;
            if factor != sizes.factor {
                return Err(AutoencoderError::Unknown {
                    origin: checkpoint.origin().to_owned(),
                    found: format!(
                        "this encoder divides sides by {factor}, but the decoder multiplies them by {}",
                        sizes.factor
                    ),
                });
            }
            Some(encoder)
        }
    };
    Ok(Autoencoder {
        encoder,
        decoder: Arc::new(decoder),
        codebook: None,
        scores: None,
        factor: sizes.factor,
        channels: sizes.latent,
        latent_scale: 1.0,
        bytes_per_pixel: sizes.bytes_per_pixel,
        wrap,
        warnings: vec![],
    })
}

struct Sizes {
    latent: usize,
    factor: usize,
    bytes_per_pixel: usize,
}

/// A numbered sequence of layers.
struct Sequence<'a> {
    weights: Branch<'a>,
    prefix: String,
    /// The numbers that have tensors.
    numbers: BTreeSet<usize>,
    wrap: [bool; 2],
}

impl<'a> Sequence<'a> {
    fn new(weights: Branch<'a>, prefix: String, wrap: [bool; 2]) -> Self {
        let numbers = weights.checkpoint().keys().filter_map(|key| {
            let rest = key.strip_prefix(&prefix)?;
            rest.split('.').next()?.parse().ok()
        });
        Self {
            weights,
            numbers: numbers.collect(),
            prefix,
            wrap,
        }
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.weights.checkpoint().shape(&format!("{name}.weight"))
    }

    /// Channels before and after a convolution, from its shape; an error where it is missing or no convolution.
    fn channels(&self, name: &str) -> Result<(usize, usize), CheckpointError> {
        match self.shape(name) {
            Some(&[outputs, inputs, _, _]) => Ok((inputs, outputs)),
            _ => {
                let key = format!("{name}.weight");
                self.weights.get(&key, &[1, 1, 3, 3]).map(|_| (1, 1))
            }
        }
    }

    /// The convolution or block of that number, and its output channels.
    fn layer(
        &self,
        number: usize,
        inputs: usize,
        stride: usize,
    ) -> Result<(Box<dyn Layer>, usize), CheckpointError> {
        let name = format!("{}{number}", self.prefix);
        let first = format!("{name}.conv.0");
        if self.shape(&first).is_some() {
            return self.block(&name, inputs);
        }
        let (_, outputs) = self.channels(&name)?;
        let weight = self
            .weights
            .get(&format!("{name}.weight"), &[outputs, inputs, 3, 3])?;
        let bias = format!("{name}.bias");
        let bias = (self.weights.has(&bias))
            .then(|| self.weights.get(&bias, &[outputs]))
            .transpose()?;
        let options = Conv2dOptions {
            stride,
            padding: 1,
            ..Conv2dOptions::default()
        };
        let conv = Conv2d::new(weight, bias, options)?.wrapping(self.wrap);
        Ok((Box::new(conv), outputs))
    }

    fn block(&self, name: &str, inputs: usize) -> Result<(Box<dyn Layer>, usize), CheckpointError> {
        let (_, outputs) = self.channels(&format!("{name}.conv.0"))?;
        let conv = |i: usize, inputs: usize| {
            let name = format!("{name}.conv.{i}");
            Loaded::Ok(conv(self.weights, &name, [inputs, outputs], 3)?.wrapping(self.wrap))
        };
        let branch = Chain::new(vec![
            Box::new(conv(0, inputs)?),
            Box::new(Activation::Relu),
            Box::new(conv(2, outputs)?),
            Box::new(Activation::Relu),
            Box::new(conv(4, outputs)?),
        ]);
        let sum: Box<dyn Layer> = if inputs == outputs {
            Box::new(Residual(branch))
        } else {
            let key = format!("{name}.skip.weight");
            let weight = self.weights.get(&key, &[outputs, inputs, 1, 1])?;
            let skip = Conv2d::new(weight, None, Conv2dOptions::default())?;
            Box::new(Parallel(branch, skip))
        };
        let mut block: Vec<Box<dyn Layer>> = vec![];
        if let Some(pool) = self.pool(name, inputs)? {
            block.push(Box::new(Residual(pool)));
        }
        block.push(sum);
        block.push(Box::new(Activation::Relu));
        Ok((Box::new(Chain::new(block)), outputs))
    }

    fn pools(&self, name: &str) -> bool {
        self.weights.has(&format!("{name}.pool.0.weight"))
    }

    /// TAEF2's branch before a block: to four times the channels, a norm over the whole picture, and back.
    fn pool(&self, name: &str, channels: usize) -> Result<Option<Chain>, CheckpointError> {
        if !self.pools(name) {
            return Ok(None);
        }
        let name = format!("{name}.pool");
        let wide = 4 * channels;
        let conv = |i: usize, inputs: usize, outputs: usize| {
            let key = format!("{name}.{i}.weight");
            let weight = self.weights.get(&key, &[outputs, inputs, 1, 1])?;
            Ok::<_, CheckpointError>(Conv2d::new(weight, None, Conv2dOptions::default())?)
        };
        let norm = |part: &str| self.weights.get(&format!("{name}.1.{part}"), &[wide]);
        Ok(Some(Chain::new(vec![
            Box::new(conv(0, channels, wide)?),
            Box::new(GroupNorm::new(
                POOL_GROUPS,
                norm("weight")?,
                norm("bias")?,
                POOL_EPS,
            )?),
            Box::new(Activation::Relu),
            Box::new(conv(3, wide, channels)?),
        ])))
    }

    /// The error for an unsupported sequence.
    fn unknown(&self, found: String) -> AutoencoderError {
        AutoencoderError::Unknown {
            origin: self.weights.checkpoint().origin().to_owned(),
            found,
        }
    }

    fn decoder(&self) -> Result<(Chain, Sizes), AutoencoderError> {
        let mut chain: Vec<Box<dyn Layer>> = vec![Box::new(SoftClamp { limit: LIMIT })];
        let first = self.numbers.first().copied().unwrap_or(0);
        let last = self.numbers.last().copied().unwrap_or(0);
        let (latent, _) = self.channels(&format!("{}{first}", self.prefix))?;
        let (mut channels, mut doublings, mut kept) = (latent, 0, 0.0);
        for number in first..=last {
            if self.numbers.contains(&number) {
                let (layer, outputs) = self.layer(number, channels, 1)?;
                chain.push(layer);
                channels = outputs;
                // a block keeps the inputs of its three activations, and a branch in front of it those of its norm and activation
                let name = format!("{}{number}", self.prefix);
                let inputs = if self.pools(&name) { 3 + 2 * 4 } else { 3 };
                kept += 4.0 * f64::from(inputs) * channels as f64 * 4f64.powi(doublings);
            } else if number == first + 1 {
                chain.push(Box::new(Activation::Relu));
            } else {
                chain.push(Box::new(UpsampleNearest::new(2)?));
                doublings += 1;
            }
        }
        if channels != 3 {
            if self.shape(&format!("{}{last}", self.prefix)).is_some() {
                return Err(self.unknown(format!(
                    "its decoder gives {channels} channels instead of 3; TAEQI2.1 packs pixels with their opacity, \
                     which is not supported"
                )));
            }
            // the last convolution is missing: reading it gives the error
            self.channels(&format!("{}{}", self.prefix, last + 1))?;
        }
        let sizes = Sizes {
            latent,
            factor: 1 << doublings,
            bytes_per_pixel: (kept / 4f64.powi(doublings)).ceil() as usize,
        };
        Ok((Chain::new(chain), sizes))
    }

    /// The encoder and by how much it divides the sides. Convolutions without a bias halve them, and so do those with a rectifier behind
    /// them, which has a number and no tensors (TAESANA).
    fn encoder(&self, latent: usize) -> Result<(Chain, usize), AutoencoderError> {
        let mut chain: Vec<Box<dyn Layer>> = vec![];
        let (mut channels, mut factor) = (3, 1);
        let last = self.numbers.last().copied().unwrap_or(0);
        for number in 0..=last {
            if number > 0 && !self.numbers.contains(&number) {
                chain.push(Box::new(Activation::Relu));
                continue;
            }
            let name = format!("{}{number}", self.prefix);
            let plain = self.shape(&name).is_some();
            let rectified = number < last && !self.numbers.contains(&(number + 1));
            let halves = plain && (rectified || !self.weights.has(&format!("{name}.bias")));
            let (layer, outputs) = self.layer(number, channels, 1 + usize::from(halves))?;
            chain.push(layer);
            channels = outputs;
            factor <<= usize::from(halves);
        }
        if channels != latent {
            // it does not fit the decoder: reading the last convolution gives the error
            let key = format!("{}{last}.weight", self.prefix);
            self.weights.get(&key, &[latent, channels, 3, 3])?;
        }
        Ok((Chain::new(chain), factor))
    }
}
