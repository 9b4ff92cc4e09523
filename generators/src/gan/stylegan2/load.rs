//! StyleGAN2 in the layout of rosinality's PyTorch version.

use candle_core::{Device, Tensor};
use frozen::{Chain, Layer, Linear, Upfirdn2d};
use weights::checkpoint::{Branch, Checkpoint, Scope};

use super::layers::{Kernels, LeakyRelu, PixelNorm, StyledConv, ToRgb};
use super::{NAME, StyleGan2, sample_statistics};
use crate::gan::{GanError, Network, NetworkOptions, NoisePlanes, Space};
use crate::layers::Loaded;

/// A tensor that every one has.
const MARK: &str = "conv1.conv.modulation.weight";
/// In front of the names of the generator that is the moving average of training.
const AVERAGE: &str = "g_ema.";
/// What training programs save beside that.
const OTHERS: [&str; 4] = ["g.", "d.", "g_optim.", "d_optim."];
/// Factor of the mapping network's weights, which learned at a hundredth of the rate.
const MAPPING_RATE: f64 = 0.01;
/// The largest side of a picture, of the first features, of a filter, and the most channels and layers of the mapping: what published models have,
/// and some more. A file could name any.
const MOST_PIXELS: usize = 2048;
const MOST_INPUT: usize = 16;
const MOST_TAPS: usize = 16;
const MOST_CHANNELS: usize = 4096;
const MOST_MAPPING: usize = 32;

/// A part of a checkpoint.
#[derive(Clone, Copy)]
struct Reader<'a> {
    weights: Branch<'a>,
    prefix: &'a str,
}

impl Reader<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn has(&self, name: &str) -> bool {
        self.weights.has(&self.key(name))
    }

    fn get(&self, name: &str, shape: &[usize]) -> Loaded<Tensor> {
        self.weights.get(&self.key(name), shape)
    }

    fn dims<const N: usize>(&self, name: &str) -> Loaded<[usize; N]> {
        self.weights.dims(&self.key(name))
    }

    /// A linear layer whose weights were scaled at run time.
    fn linear(&self, name: &str, [input, output]: [usize; 2], rate: f64) -> Loaded<Linear> {
        let weight = self.get(&format!("{name}.weight"), &[output, input])?;
        let bias = self.get(&format!("{name}.bias"), &[output])?;
        let weight = (weight * (rate / (input as f64).sqrt()))?;
        Ok(Linear::new(weight, Some((bias * rate)?))?)
    }

    /// The kernels [outputs, inputs, k, k] of a modulated convolution, scaled.
    fn kernels(&self, name: &str, [input, output]: [usize; 2], size: usize) -> Loaded<Tensor> {
        let shape = [1, output, input, size, size];
        let weight = self.get(&format!("{name}.conv.weight"), &shape)?;
        let fan_in = (input * size * size) as f64;
        Ok((weight.squeeze(0)? / fan_in.sqrt())?)
    }

    /// The taps of a filter.
    fn taps(&self, name: &str) -> Loaded<Option<Vec<Vec<f64>>>> {
        let [rows, columns] = self.dims(name)?;
        if rows != columns || rows > MOST_TAPS {
            return Ok(None);
        }
        let taps = self.get(name, &[rows, columns])?;
        let taps = taps.to_dtype(candle_core::DType::F64)?.to_vec2()?;
        Ok(Some(taps))
    }
}

pub(super) fn read(
    checkpoint: &Checkpoint,
    options: &NetworkOptions,
    device: &Device,
) -> Result<Box<dyn Network>, GanError> {
    Ok(Box::new(load(checkpoint, options, device)?))
}

/// Reads the generator, that of the moving average (`g_ema`) if there are several.
pub(super) fn load(
    checkpoint: &Checkpoint,
    options: &NetworkOptions,
    device: &Device,
) -> Result<StyleGan2, GanError> {
    options.allow(NAME, &["space", "noise"])?;
    let prefix = if checkpoint.has(&format!("{AVERAGE}{MARK}")) {
        AVERAGE
    } else {
        ""
    };
    let weights = Branch::root(checkpoint, device);
    let network = StyleGan2::load(Reader { weights, prefix }, options, device)?;
    // planes that are drawn or painted are not read
    let noises = format!("{prefix}noises.");
    let left: Vec<&str> = (OTHERS.into_iter())
        .filter(|_| !prefix.is_empty())
        .chain([noises.as_str()])
        .collect();
    checkpoint.finish(Scope::All, &left)?;
    Ok(network)
}

impl StyleGan2 {
    fn load(
        reader: Reader<'_>,
        options: &NetworkOptions,
        device: &Device,
    ) -> Result<Self, GanError> {
        let weights = reader.weights;
        let fault = |what: String| GanError::Unsupported {
            origin: weights.checkpoint().origin().to_owned(),
            architecture: NAME,
            what,
        };

        // sizes first, so that nothing large is read of a file that names impossible ones
        let [one, mut channels, height, width] = reader.dims::<4>("input.input")?;
        let [first, w_size] = reader.dims::<2>(MARK)?;
        let [mapped, z_size] = reader.dims::<2>("style.1.weight")?;
        let doublings = (0..)
            .take_while(|i| reader.has(&format!("to_rgbs.{i}.conv.weight")))
            .take(MOST_PIXELS.ilog2() as usize + 1)
            .count();
        let rest = format!("convs.{}.conv.weight", 2 * doublings);
        if reader.has(&rest) {
            return Err(fault(format!(
                "there is a `{rest}`, and no colours behind it"
            )));
        }
        let most = MOST_PIXELS >> doublings.min(16);
        if one != 1 {
            return Err(fault(format!("its first features are of {one} pictures")));
        }
        if height.max(width) > MOST_INPUT.min(most) {
            return Err(fault(format!(
                "its pictures would have {width} x {height} pixels, doubled {doublings} times, and more than {MOST_PIXELS}"
            )));
        }
        if mapped != w_size
            || [channels, w_size, z_size]
                .iter()
                .any(|&n| n > MOST_CHANNELS)
        {
            return Err(fault(format!(
                "its first layers have {channels} and {first} channels, and w {mapped} and {w_size} numbers; at most {MOST_CHANNELS} are read"
            )));
        }
        let size = [height << doublings, width << doublings];

        let mut mapping: Vec<Box<dyn Layer>> = vec![Box::new(PixelNorm)];
        let mut inputs = z_size;
        for layer in (1..).take_while(|layer| reader.has(&format!("style.{layer}.weight"))) {
            if layer > MOST_MAPPING {
                return Err(fault(format!(
                    "its mapping network has more than {MOST_MAPPING} layers"
                )));
            }
            let sizes = [inputs, w_size];
            let linear = reader.linear(&format!("style.{layer}"), sizes, MAPPING_RATE)?;
            mapping.push(Box::new(linear));
            mapping.push(Box::new(LeakyRelu));
            inputs = w_size;
        }
        let mapping = Chain::new(mapping);
        let [mut mean, deviation] = sample_statistics(&mapping, z_size, device)?;
        if weights.has("latent_avg") {
            mean = weights.get("latent_avg", &[w_size])?.unsqueeze(0)?;
        }

        let input = reader.get("input.input", &[1, channels, height, width])?;
        let (mut convs, mut colors) = (vec![], vec![]);
        let mut enlarge = vec![];
        for level in 0..=doublings {
            let names = match level {
                0 => vec![("conv1".to_owned(), false)],
                _ => vec![
                    (format!("convs.{}", 2 * level - 2), true),
                    (format!("convs.{}", 2 * level - 1), false),
                ],
            };
            for (name, enlarges) in names {
                let [_, outputs, ..] = reader.dims::<5>(&format!("{name}.conv.weight"))?;
                if outputs > MOST_CHANNELS {
                    return Err(fault(format!("`{name}` has {outputs} channels")));
                }
                let blur = if enlarges {
                    let kernel = format!("{name}.conv.blur.kernel");
                    let blur = reader.taps(&kernel)?.map(|taps| blur(&taps));
                    Some(blur.ok_or_else(|| fault(format!("`{kernel}` is not a small square")))??)
                } else {
                    None
                };
                let sizes = [channels, outputs];
                convs.push(styled_conv(reader, &name, sizes, w_size, blur)?);
                channels = outputs;
            }
            let name = match level {
                0 => "to_rgb1".to_owned(),
                _ => format!("to_rgbs.{}", level - 1),
            };
            colors.push(to_rgb(reader, &name, channels, w_size)?);
            if level > 0 {
                let kernel = format!("{name}.upsample.kernel");
                let taps = reader.taps(&kernel)?;
                let taps =
                    taps.ok_or_else(|| fault(format!("`{kernel}` is not a small square")))?;
                enlarge.push(enlarging(&taps)?);
            }
        }
        let mut network = Self {
            space: options.space.unwrap_or(Space::WPlus),
            paints_planes: options.noise == Some(NoisePlanes::Optimized),
            truncation: options.truncation,
            mapping,
            z_size,
            mean,
            deviation,
            input,
            convs,
            colors,
            enlarge,
            planes: vec![],
            size,
        };
        if network.paints_planes {
            return Ok(network);
        }
        network.planes = if reader.has("noises.noise_0") {
            (0..network.convs.len())
                .map(|conv| {
                    let [h, w] = network.plane_size(conv);
                    reader.get(&format!("noises.noise_{conv}"), &[1, 1, h, w])
                })
                .collect::<Loaded<_>>()?
        } else {
            network.split_planes(&network.draw_planes(options.seed)?)?
        };
        Ok(network)
    }
}

/// A modulated convolution, which enlarges where it has a blur.
fn styled_conv(
    reader: Reader<'_>,
    name: &str,
    [inputs, outputs]: [usize; 2],
    w_size: usize,
    blur: Option<Upfirdn2d>,
) -> Loaded<StyledConv> {
    let kernels = reader.kernels(name, [inputs, outputs], 3)?;
    let squares = kernels.sqr()?.sum((2, 3))?;
    let kernels = match blur {
        Some(blur) => Kernels::Enlarging(kernels.transpose(0, 1)?.contiguous()?, blur),
        None => Kernels::Plain(kernels),
    };
    let bias = reader.get(&format!("{name}.activate.bias"), &[outputs])?;
    Ok(StyledConv {
        style: reader.linear(&format!("{name}.conv.modulation"), [w_size, inputs], 1.0)?,
        kernels,
        squares,
        strength: reader.get(&format!("{name}.noise.weight"), &[1])?,
        bias: bias.unsqueeze(0)?,
    })
}

fn to_rgb(reader: Reader<'_>, name: &str, channels: usize, w_size: usize) -> Loaded<ToRgb> {
    let kernels = reader.kernels(name, [channels, 3], 1)?;
    let bias = reader.get(&format!("{name}.bias"), &[1, 3, 1, 1])?;
    Ok(ToRgb {
        style: reader.linear(&format!("{name}.conv.modulation"), [w_size, channels], 1.0)?,
        kernels: Kernels::Colors(kernels, bias.flatten_all()?),
    })
}

/// The blur behind a transposed convolution of 3 x 3, which brings its result to twice the sides.
fn blur(taps: &[Vec<f64>]) -> candle_core::Result<Upfirdn2d> {
    let rest = taps.len() as i64 - 4;
    let pad = [(rest + 1).div_euclid(2) + 1, rest.div_euclid(2) + 1];
    Upfirdn2d::new(taps, 1, 1, [pad; 2])
}

/// Twice the sides, for the picture of the resolution below.
fn enlarging(taps: &[Vec<f64>]) -> candle_core::Result<Upfirdn2d> {
    let rest = taps.len() as i64 - 2;
    let pad = [(rest + 1).div_euclid(2) + 1, rest.div_euclid(2)];
    Upfirdn2d::new(taps, 2, 1, [pad; 2])
}
