//! BigGAN-deep in the layout of pytorch-pretrained-BigGAN.

use candle_core::{Device, Tensor};
use frozen::{Chain, Conv2d, Conv2dOptions, Layer, Linear, UpsampleConv2d};
use weights::checkpoint::{Branch, Checkpoint, Scope};

use super::classes::Classes;
use super::config::BigGanConfig;
use super::layers::{Attention, Block, ConditionalNorm, LastNorm};
use super::{ARCHITECTURE, BigGan, FIRST, NAME, Part};
use crate::gan::layers::{Sigmoid, weight};
use crate::gan::{GanError, Network, NetworkOptions};

/// What published models add to variances.
const EPS: f64 = 1e-4;
/// The names of ImageNet's classes, in the order of their numbers, one on each line: those that OpenAI gave them for CLIP, as open_clip has them (MIT).
const IMAGENET: &str = include_str!("imagenet.txt");

/// The largest side of a picture, and the most channels, classes, statistics and layers: what published models have, and some more. A file could name
/// any.
const MOST_PIXELS: usize = 1024;
const MOST_CHANNELS: usize = 8192;
const MOST_CLASSES: usize = 1 << 16;
const MOST_STATISTICS: usize = 1001;
const MOST_LAYERS: usize = 64;

type Loaded<T> = Result<T, GanError>;

/// What reads a BigGAN's layers.
#[derive(Clone, Copy)]
struct Reader<'a> {
    weights: Branch<'a>,
    /// Numbers in a condition.
    condition: usize,
    eps: f64,
    truncation: f64,
}

impl Reader<'_> {
    fn kernels(&self, name: &str, [input, output]: [usize; 2], size: usize) -> Loaded<Tensor> {
        weight(self.weights, name, &[output, input, size, size], 0)
    }

    fn conv(&self, name: &str, channels: [usize; 2], size: usize) -> Loaded<Conv2d> {
        let kernels = self.kernels(name, channels, size)?;
        let bias = (self.weights).get(&format!("{name}.bias"), &channels[1..])?;
        let options = Conv2dOptions {
            padding: size / 2,
            ..Conv2dOptions::default()
        };
        Ok(Conv2d::new(kernels, Some(bias), options)?)
    }

    /// A 3 x 3 convolution of the enlarged image.
    fn enlarging(&self, name: &str, channels: usize) -> Loaded<UpsampleConv2d> {
        let kernels = self.kernels(name, [channels; 2], 3)?;
        let bias = self.weights.get(&format!("{name}.bias"), &[channels])?;
        Ok(UpsampleConv2d::new(&kernels, Some(&bias))?)
    }

    /// Mean and `1 / sqrt(variance + eps)` for the truncation, [1, c] each.
    fn statistics(&self, name: &str, channels: usize) -> Loaded<[Tensor; 2]> {
        let [count, _] = self.weights.dims::<2>(&format!("{name}.running_means"))?;
        let part = |part: &str| -> Loaded<Tensor> {
            let all = (self.weights).get(&format!("{name}.running_{part}"), &[count, channels])?;
            // as upstream computes it, to the digit: .7 / .02 is a bit less than 35
            let place = self.truncation / (1.0 / count.saturating_sub(1).max(1) as f64);
            let (index, part) = (place.trunc() as usize, place.fract());
            let index = index.min(count - 1);
            let here = all.narrow(0, index, 1)?;
            if part == 0.0 || index + 1 == count {
                return Ok(here.contiguous()?);
            }
            // and which of the two it takes more of is upstream's as well
            Ok(((here * part)? + (all.narrow(0, index + 1, 1)? * (1.0 - part))?)?)
        };
        let inverse = (part("vars")? + self.eps)?.sqrt()?.recip()?;
        Ok([part("means")?, inverse])
    }

    fn norm(&self, name: &str, channels: usize) -> Loaded<ConditionalNorm> {
        let [mean, inverse] = self.statistics(name, channels)?;
        let part = |part: &str| {
            weight(
                self.weights,
                &format!("{name}.{part}"),
                &[channels, self.condition],
                0,
            )
        };
        let affine = Tensor::cat(&[part("scale")?, part("offset")?], 0)?;
        Ok(ConditionalNorm {
            affine: Linear::new(affine, None)?,
            inverse,
            mean,
        })
    }

    fn block(&self, name: &str, sizes: [usize; 3], enlarges: bool) -> Loaded<Block> {
        let [input, middle, output] = sizes;
        let norm = |i: usize, channels: usize| self.norm(&format!("{name}.bn_{i}"), channels);
        let conv = |i: usize, channels: [usize; 2], size: usize| -> Loaded<Box<dyn Layer>> {
            Ok(Box::new(self.conv(
                &format!("{name}.conv_{i}"),
                channels,
                size,
            )?))
        };
        let second: Box<dyn Layer> = if enlarges {
            Box::new(self.enlarging(&format!("{name}.conv_1"), middle)?)
        } else {
            conv(1, [middle; 2], 3)?
        };
        Ok(Block {
            norms: [
                norm(0, input)?,
                norm(1, middle)?,
                norm(2, middle)?,
                norm(3, middle)?,
            ],
            convs: [
                conv(0, [input, middle], 1)?,
                second,
                conv(2, [middle; 2], 3)?,
                conv(3, [middle, output], 1)?,
            ],
            enlarges,
            kept: output,
        })
    }

    fn attention(&self, name: &str, channels: usize) -> Loaded<Attention> {
        let dims = |part: &str| {
            let key = format!("{name}.snconv1x1_{part}.weight_orig");
            let plain = format!("{name}.snconv1x1_{part}.weight");
            let key = if self.weights.has(&key) { key } else { plain };
            self.weights.dims::<4>(&key)
        };
        let (keys, values) = (dims("theta")?[0], dims("g")?[0]);
        let conv = |part: &str, [input, output]: [usize; 2], scale: f64| -> Loaded<Conv2d> {
            let kernels = self.kernels(&format!("{name}.snconv1x1_{part}"), [input, output], 1)?;
            Ok(Conv2d::new(
                (kernels * scale)?,
                None,
                Conv2dOptions::default(),
            )?)
        };
        let gamma = self.weights.get(&format!("{name}.gamma"), &[1])?;
        let gamma = f64::from(gamma.to_device(&Device::Cpu)?.to_vec1::<f32>()?[0]);
        Ok(Attention {
            query: conv("theta", [channels, keys], (keys as f64).sqrt())?,
            key: conv("phi", [channels, keys], 1.0)?,
            value: conv("g", [channels, values], 1.0)?,
            output: conv("o_conv", [values, channels], gamma)?,
        })
    }
}

/// Reads the generator. Its sizes are those of its tensors; without a configuration every second block doubles the sides, as in all published ones.
pub(super) fn read(
    checkpoint: &Checkpoint,
    options: &NetworkOptions,
    device: &Device,
) -> Loaded<Box<dyn Network>> {
    options.allow(NAME, &["classes", "class"])?;
    let config = BigGanConfig::beside(checkpoint)?;
    let network = BigGan::load(Branch::root(checkpoint, device), &config, options)?;
    checkpoint.finish(Scope::All, &[])?;
    Ok(Box::new(network))
}

impl BigGan {
    fn load(weights: Branch<'_>, config: &BigGanConfig, options: &NetworkOptions) -> Loaded<Self> {
        let fault = |what: String| GanError::Unsupported {
            origin: weights.checkpoint().origin().to_owned(),
            architecture: NAME,
            what,
        };
        let unfit = |key: &'static str, what: String| GanError::Value {
            key,
            architecture: NAME,
            what,
        };
        let truncation = options.truncation;
        if !(truncation > 0.0 && truncation <= 1.0) {
            let what = format!(
                "{truncation} is not above 0 and at most 1, for which there are statistics"
            );
            return Err(unfit("truncation", what));
        }
        let [embedded, classes] = weights.dims::<2>("embeddings.weight")?;
        let first = ["generator.gen_z.weight_orig", "generator.gen_z.weight"];
        let first = first.into_iter().find(|key| weights.has(key));
        let [features, condition] =
            weights.dims::<2>(first.unwrap_or("generator.gen_z.weight_orig"))?;
        let [statistics, mut channels] = weights.dims::<2>(ARCHITECTURE.marks[0])?;
        let too_large = channels > MOST_CHANNELS
            || condition > MOST_CHANNELS
            || classes > MOST_CLASSES
            || statistics > MOST_STATISTICS;
        if too_large || features != FIRST * FIRST * channels || condition <= embedded {
            return Err(fault(format!(
                "its first layer has {features} outputs and {condition} inputs, {embedded} of them from {classes} classes, and the next one \
                 {channels} channels and {statistics} statistics"
            )));
        }
        let reader = Reader {
            weights,
            condition,
            eps: config.eps.unwrap_or(EPS),
            truncation,
        };
        if let Some(eps) = config.eps
            && !(eps.is_finite() && eps > 0.0)
        {
            return Err(fault(format!("`eps` is {eps}")));
        }
        let first_channels = channels;
        let (mut layers, mut side, mut blocks) = (vec![], FIRST, 0);
        for index in 0.. {
            let name = format!("generator.layers.{index}");
            let attends = weights.has(&format!("{name}.gamma"));
            if !attends && !weights.has(&format!("{name}.bn_0.running_means")) {
                break;
            }
            if index >= MOST_LAYERS {
                return Err(fault(format!("it has more than {MOST_LAYERS} layers")));
            }
            if attends {
                layers.push(Part::Attention(reader.attention(&name, channels)?));
                continue;
            }
            let [_, middle] = weights.dims::<2>(&format!("{name}.bn_1.running_means"))?;
            let [output] = weights.dims::<1>(&format!("{name}.conv_3.bias"))?;
            if middle > MOST_CHANNELS || output > channels {
                return Err(fault(format!(
                    "`{name}` has {channels}, {middle} and {output} channels"
                )));
            }
            let enlarges = match &config.layers {
                None => blocks % 2 == 1,
                Some(said) => match said.get(blocks) {
                    Some((enlarges, ..)) => *enlarges,
                    None => {
                        return Err(fault(format!(
                            "its configuration has {} blocks, and it has more",
                            said.len()
                        )));
                    }
                },
            };
            side *= 1 + usize::from(enlarges);
            if side > MOST_PIXELS {
                return Err(fault(format!(
                    "its pictures would have more than {MOST_PIXELS} pixels on a side"
                )));
            }
            let block = reader.block(&name, [channels, middle, output], enlarges)?;
            layers.push(Part::Block(Box::new(block)));
            channels = output;
            blocks += 1;
        }
        if let Some(said) = &config.layers
            && said.len() != blocks
        {
            return Err(fault(format!(
                "its configuration has {} blocks, and it {blocks}",
                said.len()
            )));
        }
        if let Some(said) = config.output_dim
            && said != side
        {
            return Err(fault(format!(
                "its configuration says pictures of {said} pixels, and its layers make {side}"
            )));
        }
        let names: Vec<&str> = IMAGENET.lines().collect();
        let names = Some(names.as_slice()).filter(|names| names.len() == classes);
        let start = (options.class.iter().flatten())
            .map(|class| class.number(classes, names))
            .collect::<Result<_, _>>()
            .map_err(|what| unfit("class", what))?;
        let embeddings = weights.get("embeddings.weight", &[embedded, classes])?;
        let first = weight(weights, "generator.gen_z", &[features, condition], 0)?;
        let bias = weights.get("generator.gen_z.bias", &[features])?;
        Ok(Self {
            choice: options.classes.map_or(Classes::Any, Classes::Top),
            start,
            z_size: condition - embedded,
            classes,
            embeddings: Linear::new(embeddings, None)?,
            first: Linear::new(first, Some(bias))?,
            channels: first_channels,
            layers,
            last: last(reader, channels)?,
            side,
        })
    }
}

/// From the last features to the picture. Of the channels that the convolution has, three are colours.
fn last(reader: Reader<'_>, channels: usize) -> Loaded<Chain> {
    let [mean, inverse] = reader.statistics("generator.bn", channels)?;
    let part = |part: &str| -> Loaded<Tensor> {
        let row = (reader.weights).get(&format!("generator.bn.{part}"), &[channels])?;
        Ok(row.unsqueeze(0)?)
    };
    let scale = (part("weight")? * inverse)?;
    let shift = (part("bias")? - (&scale * mean)?)?;
    let name = "generator.conv_to_rgb";
    let [outputs] = reader.weights.dims::<1>(&format!("{name}.bias"))?;
    if outputs < 3 {
        return Err(GanError::Unsupported {
            origin: reader.weights.checkpoint().origin().to_owned(),
            architecture: NAME,
            what: format!("`{name}` has {outputs} channels, and no three colours"),
        });
    }
    let kernels = reader.kernels(name, [channels, outputs], 3)?;
    let bias = reader.weights.get(&format!("{name}.bias"), &[outputs])?;
    let options = Conv2dOptions {
        padding: 1,
        ..Conv2dOptions::default()
    };
    let conv = Conv2d::new(
        kernels.narrow(0, 0, 3)?,
        Some(bias.narrow(0, 0, 3)?),
        options,
    )?;
    Ok(Chain::new(vec![
        Box::new(LastNorm { scale, shift }),
        Box::new(conv),
        // from -1..=1 to 0..=1
        Box::new(Sigmoid { steepness: 2.0 }),
    ]))
}
