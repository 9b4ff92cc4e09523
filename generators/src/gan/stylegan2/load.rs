//! StyleGAN2 from a checkpoint of any of its layouts.

use candle_core::Device;
use frozen::Upfirdn2d;
use weights::checkpoint::{Branch, Checkpoint, Scope};

use super::layers::{Kernels, StyledConv, ToRgb};
use super::layout::{Layout, Reader};
use super::{NAME, StyleGan2};
use crate::gan::styles::{MOST_CHANNELS, Mapping, Styles, nvidia_mapping};
use crate::gan::{GanError, Network, NetworkOptions, NoisePlanes};
use crate::layers::Loaded;

/// The largest side of a picture, and of the first features: what published models have, and some more. A file could name any.
const MOST_PIXELS: usize = 2048;
const MOST_INPUT: usize = 16;
/// Settings that they have.
const OPTIONS: [&str; 2] = ["space", "noise"];

pub(super) fn read(
    checkpoint: &Checkpoint,
    options: &NetworkOptions,
    device: &Device,
) -> Result<Box<dyn Network>, GanError> {
    Ok(Box::new(load(checkpoint, options, device)?))
}

/// Reads the generator, that of the moving average if there are several.
pub(super) fn load(
    checkpoint: &Checkpoint,
    options: &NetworkOptions,
    device: &Device,
) -> Result<StyleGan2, GanError> {
    let reader = Reader::new(Branch::root(checkpoint, device));
    let network = StyleGan2::load(reader, options, device)?;
    let left = reader.left(network.enlarge.len());
    let left: Vec<&str> = left.iter().map(String::as_str).collect();
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
            origin: reader.checkpoint().origin().to_owned(),
            architecture: NAME,
            what,
        };
        if reader.layout == Layout::Rosinality {
            options.allow(NAME, &OPTIONS)?;
        }

        // sizes first, so that nothing large is read of a file that names impossible ones
        let input = reader.input_sizes()?;
        let [one, mut channels, height, width] = input;
        let [first, w_size] = reader.style_sizes()?;
        let [mapped, z_size] = reader.mapping_sizes()?;
        let doublings = (1..)
            .take_while(|level| weights.has(&reader.weight(&reader.colors(*level))))
            .take(MOST_PIXELS.ilog2() as usize + 1)
            .count();
        let rest = reader.weight(&reader.conv(2 * doublings + 1));
        if weights.has(&rest) {
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
        let largest = [channels, w_size, z_size].into_iter().max();
        if mapped != w_size || largest > Some(MOST_CHANNELS) {
            return Err(fault(format!(
                "its first layers have {channels} and {first} channels, z {z_size} numbers, and w {mapped} and {w_size}; at most {MOST_CHANNELS} are read"
            )));
        }
        let size = [height << doublings, width << doublings];

        let mapping = match reader.layout {
            Layout::Nvidia => nvidia_mapping(weights, reader.prefix, NAME, options, &OPTIONS)?.0,
            Layout::Rosinality => {
                let layer = |number| reader.mapping(number);
                Mapping::load(weights, layer, [z_size, w_size], "latent_avg", None)?
                    .map_err(fault)?
            }
        };
        let styles = Styles::new(mapping, 2 * doublings + 2, options, device)?;

        let input = reader.input(input)?;
        let (mut convs, mut colors) = (vec![], vec![]);
        let mut enlarge = vec![];
        for level in 0..=doublings {
            // the first resolution has one, which does not enlarge
            for number in (2 * level).saturating_sub(1)..=2 * level {
                let name = reader.conv(number);
                let outputs = reader.outputs(&name)?;
                if outputs > MOST_CHANNELS {
                    return Err(fault(format!("`{name}` has {outputs} channels")));
                }
                let blur = match number % 2 {
                    1 => Some(blur(&reader.blur(&name)?.map_err(fault)?)?),
                    _ => None,
                };
                let sizes = [channels, outputs];
                convs.push(styled_conv(reader, &name, sizes, w_size, blur)?);
                channels = outputs;
            }
            colors.push(to_rgb(reader, &reader.colors(level), channels, w_size)?);
            if level > 0 {
                let taps = reader.enlarging(level)?.map_err(fault)?;
                enlarge.push(enlarging(&taps)?);
            }
        }
        let mut network = Self {
            styles,
            paints_planes: options.noise == Some(NoisePlanes::Optimized),
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
        network.planes = if weights.has(&reader.plane(0)) {
            (0..network.convs.len())
                .map(|conv| reader.stored_plane(conv, network.plane_size(conv)))
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
    let kernels = reader.kernels(name, [inputs, outputs], 3, true)?;
    let squares = kernels.sqr()?.sum((2, 3))?;
    let kernels = match blur {
        Some(blur) => Kernels::Enlarging(kernels.transpose(0, 1)?.contiguous()?, blur),
        None => Kernels::Plain(kernels),
    };
    Ok(StyledConv {
        style: reader.style(name, [w_size, inputs])?,
        kernels,
        squares,
        strength: reader.strength(name)?,
        bias: reader.bias(name, outputs)?.unsqueeze(0)?,
        limit: reader.limit(name),
    })
}

fn to_rgb(reader: Reader<'_>, name: &str, channels: usize, w_size: usize) -> Loaded<ToRgb> {
    let kernels = reader.kernels(name, [channels, 3], 1, false)?;
    Ok(ToRgb {
        style: reader.style(name, [w_size, channels])?,
        kernels: Kernels::Colors(kernels, reader.color_bias(name)?),
        limit: reader.limit(name),
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
