//! StyleGAN3 in NVIDIA's layout.
//!
//! The names of layers say their sizes and channels, and their filters are stored. What else a `.pkl` says of a module is used; without it, as in
//! safetensors, everything is as in the networks that were published.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use frozen::Upfirdn2d;
use weights::checkpoint::{Branch, Checkpoint, Scope};

use super::input::{Waves, places};
use super::layers::FilteredConv;
use super::{NAME, StyleGan3};
use crate::gan::styles::{MOST_CHANNELS, Styles, equalized, nvidia_mapping};
use crate::gan::{GanError, Network, NetworkOptions};
use crate::layers::Loaded;

/// In front of the names of the generator that is the moving average of training, and what else is in a file that has it.
const AVERAGE: &str = "G_ema.";
const OTHERS: [&str; 3] = ["G.", "D.", "augment_pipe."];

/// What published networks have: pixels on each side beyond the picture, taps for each pixel, periods of the first waves, the factor of colours, and the
/// largest size of values.
const MARGIN: f64 = 10.0;
const TAPS: usize = 6;
const BANDWIDTH: f64 = 2.0;
const SCALE: f64 = 0.25;
const LIMIT: f64 = 256.0;

/// The largest side of features, and the most layers, taps and ratio of resolutions: what published models have, and some more. A file could name any.
const MOST_PIXELS: usize = 2048 + 64;
const MOST_LAYERS: usize = 64;
const MOST_TAPS: usize = 64;
const MOST_RATIO: usize = 8;

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
) -> Result<StyleGan3, GanError> {
    let average = checkpoint.has(&format!("{AVERAGE}synthesis.input.freqs"));
    let prefix = if average { AVERAGE } else { "" };
    let reader = Reader {
        weights: Branch::root(checkpoint, device),
        prefix,
    };
    let network = reader.network(options, device)?;
    checkpoint.finish(Scope::All, if average { &OTHERS } else { &[] })?;
    Ok(network)
}

/// What the name of a layer says.
struct Named {
    name: String,
    /// Height and width, and channels, of its result.
    size: usize,
    channels: usize,
}

/// The generator within a checkpoint.
#[derive(Clone, Copy)]
struct Reader<'a> {
    weights: Branch<'a>,
    prefix: &'static str,
}

impl Reader<'_> {
    fn fault(&self, what: String) -> GanError {
        GanError::Unsupported {
            origin: self.weights.checkpoint().origin().to_owned(),
            architecture: NAME,
            what,
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}synthesis.{name}", self.prefix)
    }

    fn get(&self, name: &str, shape: &[usize]) -> Loaded<Tensor> {
        self.weights.get(&self.key(name), shape)
    }

    fn dims<const N: usize>(&self, name: &str) -> Loaded<[usize; N]> {
        self.weights.dims(&self.key(name))
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.weights.checkpoint().number(&self.key(name))
    }

    /// The layers by the numbers in their names, `L{number}_{size}_{channels}`.
    fn layers(&self) -> Result<Vec<Named>, GanError> {
        let start = self.key("L");
        let mut layers: BTreeMap<usize, Named> = BTreeMap::new();
        for key in self.weights.checkpoint().keys() {
            let Some((name, _)) = (key.strip_prefix(&start)).and_then(|rest| rest.split_once('.'))
            else {
                continue;
            };
            let numbers: Option<Vec<usize>> =
                name.split('_').map(|number| number.parse().ok()).collect();
            let Some(&[number, size, channels]) = numbers.as_deref() else {
                return Err(self.fault(format!("`{key}` is in no layer that is known")));
            };
            let name = format!("L{name}");
            let known = layers.entry(number).or_insert(Named {
                name: name.clone(),
                size,
                channels,
            });
            if known.name != name {
                return Err(self.fault(format!("it has both `{}` and `{name}`", known.name)));
            }
            if layers.len() > MOST_LAYERS {
                return Err(self.fault(format!("it has more than {MOST_LAYERS} layers")));
            }
        }
        if let Some((missing, _)) = (layers.keys().enumerate()).find(|(i, number)| i != *number) {
            return Err(self.fault(format!("it has no layer {missing}")));
        }
        for Named {
            name,
            size,
            channels,
        } in layers.values()
        {
            if !(1..=MOST_PIXELS).contains(size) || !(1..=MOST_CHANNELS).contains(channels) {
                return Err(self.fault(format!(
                    "`{name}` would have {size} x {size} pixels and {channels} channels; up to {MOST_PIXELS} and {MOST_CHANNELS} are read"
                )));
            }
        }
        Ok(layers.into_values().collect())
    }

    fn network(self, options: &NetworkOptions, device: &Device) -> Result<StyleGan3, GanError> {
        // sizes first, so that nothing large is read of a file that names impossible ones
        let layers = self.layers()?;
        let [Some(first), Some(last)] = [layers.first(), layers.last()] else {
            return Err(self.fault("it has no layers".to_owned()));
        };
        let (first_size, size) = (first.size, last.size);
        if last.channels != 3 {
            return Err(self.fault(format!("its pictures have {} channels", last.channels)));
        }
        let [mut channels, _] = self.dims("input.weight")?;
        if channels > MOST_CHANNELS {
            return Err(self.fault(format!(
                "it begins with {channels} waves, and at most {MOST_CHANNELS} are read"
            )));
        }
        let (mapping, w_size) =
            nvidia_mapping(self.weights, self.prefix, NAME, options, &["space"])?;
        let styles = Styles::new(mapping, layers.len() + 1, options, device)?;
        let waves = self.waves(w_size, channels, first_size, device)?;
        let mut read = Vec::with_capacity(layers.len());
        let mut before = first_size;
        for (number, layer) in layers.iter().enumerate() {
            let is_colors = number + 1 == layers.len();
            let inputs = (w_size, channels, before);
            read.push(self.layer(layer, inputs, is_colors)?);
            (channels, before) = (layer.channels, layer.size);
        }
        Ok(StyleGan3 {
            styles,
            waves,
            layers: read,
            scale: self.number("output_scale").unwrap_or(SCALE),
            size,
        })
    }

    fn waves(
        self,
        w_size: usize,
        channels: usize,
        size: usize,
        device: &Device,
    ) -> Result<Waves, GanError> {
        let margin = self.number("margin_size").unwrap_or(MARGIN);
        let rate = (self.number("input.sampling_rate")).unwrap_or(size as f64 - 2.0 * margin);
        let bandwidth = self.number("input.bandwidth").unwrap_or(BANDWIDTH);
        let is_room = rate / 2.0 > bandwidth;
        if !is_room {
            return Err(self.fault(format!(
                "its waves have up to {bandwidth} periods, and {rate} pixels for them, of which there must be more than twice as many"
            )));
        }
        let weight = self.get("input.affine.weight", &[4, w_size])?;
        let bias = self.get("input.affine.bias", &[4])?;
        let mixture = self.get("input.weight", &[channels, channels])?;
        Ok(Waves {
            affine: [
                (weight.t()?.contiguous()? / (w_size as f64).sqrt())?,
                bias.unsqueeze(0)?,
            ],
            transform: self.get("input.transform", &[3, 3])?,
            freqs: self.get("input.freqs", &[channels, 2])?,
            phases: self.get("input.phases", &[channels])?.unsqueeze(1)?,
            weight: (mixture / (channels as f64).sqrt())?,
            places: places(size, rate, device)?,
            size,
            rate,
            bandwidth,
        })
    }

    /// A layer whose style comes of so many numbers, and whose features have so many channels and pixels on a side.
    fn layer(
        self,
        layer: &Named,
        (w_size, inputs, before): (usize, usize, usize),
        is_colors: bool,
    ) -> Result<FilteredConv, GanError> {
        let Named {
            name,
            size,
            channels,
        } = layer;
        let part = |part: &str| format!("{name}.{part}");
        let [_, _, kernel, _] = self.dims(&part("weight"))?;
        if ![1, 3].contains(&kernel) {
            return Err(self.fault(format!("`{name}` has kernels of {kernel} x {kernel}")));
        }
        if is_colors && (before != *size || kernel != 1) {
            return Err(self.fault(format!(
                "`{name}`, its last layer, makes {size} x {size} pixels of {before} x {before} with kernels of {kernel} x {kernel}"
            )));
        }
        let kernels = self.get(&part("weight"), &[*channels, inputs, kernel, kernel])?;
        let gain = self.get(&part("magnitude_ema"), &[])?;
        let gain = gain.to_dtype(DType::F32)?.to_scalar::<f32>()?;
        let gain = 1.0 / f64::from(gain).sqrt();
        let (kernels, squares, activation) = if is_colors {
            let fan_in = inputs as f64;
            ((kernels * (gain / fan_in.sqrt()))?, None, None)
        } else {
            let scale = (kernels.sqr()?.mean_keepdim((1, 2, 3))?.sqrt())?;
            let kernels = kernels.broadcast_div(&scale)?;
            let squares = kernels.sqr()?.sum((2, 3))?;
            let filters = self.filters(layer, before + kernel - 1)?;
            ((kernels * gain)?, Some(squares), Some(filters))
        };
        // a file that says things of its modules, but not this, has no limit
        let says = self.number(&part("conv_kernel")).is_some();
        let style = self.key(&part("affine"));
        Ok(FilteredConv {
            style: equalized(self.weights, &style, [w_size, inputs], 1.0)?,
            kernels,
            squares,
            bias: self.get(&part("bias"), &[*channels])?,
            activation,
            limit: (self.number(&part("conv_clamp"))).or(Some(LIMIT).filter(|_| !says)),
        })
    }

    /// The way from so many pixels on a side to the resolution of the activation, and to those of the layer.
    fn filters(self, layer: &Named, pixels: usize) -> Result<[Upfirdn2d; 2], GanError> {
        let (up_taps, up) = self.filter(&layer.name, "up")?;
        let (down_taps, down) = self.filter(&layer.name, "down")?;
        let enlarged = (pixels * up) as i64;
        // as many pixels as are needed, no more, on both sides alike
        let wanted = ((layer.size - 1) * down + 1 + up_taps.len() + down_taps.len() - 2) as i64;
        let total = wanted - enlarged;
        let before = (total + up as i64).div_euclid(2);
        if total.unsigned_abs() > MOST_PIXELS as u64 {
            return Err(self.fault(format!(
                "`{}` would make {} pixels of {pixels} on each side, with {up} times the resolution between, and {down} times less",
                layer.name, layer.size
            )));
        }
        // zeros between pixels take brightness, which the filter makes up for
        let gain = (up * up) as f64;
        let up_taps: Vec<Vec<f64>> = (up_taps.iter())
            .map(|row| row.iter().map(|tap| tap * gain).collect())
            .collect();
        Ok([
            Upfirdn2d::new(&up_taps, up, 1, [[before, total - before]; 2])?,
            Upfirdn2d::new(&down_taps, 1, down, [[0, 0]; 2])?,
        ])
    }

    /// The taps of a filter as rows, and by what it changes the resolution; where there is none, by nothing.
    fn filter(self, layer: &str, way: &str) -> Result<(Vec<Vec<f64>>, usize), GanError> {
        let name = format!("{layer}.{way}_filter");
        let key = self.key(&name);
        let shape = match self.weights.checkpoint().shape(&key) {
            None => return Ok((vec![vec![1.0]], 1)),
            Some(shape) => shape.to_vec(),
        };
        let count = shape.first().copied().unwrap_or_default();
        let fault = |what: String| self.fault(format!("`{key}` {what}"));
        if !(1..=MOST_TAPS).contains(&count) || !(shape == [count] || shape == [count, count]) {
            return Err(fault(format!(
                "has shape {shape:?}, and a row or a square of up to {MOST_TAPS} is read"
            )));
        }
        let ratio = match self.number(&format!("{layer}.{way}_factor")) {
            Some(ratio) => ratio as usize,
            None if count.is_multiple_of(TAPS) => count / TAPS,
            None => {
                return Err(fault(format!(
                    "has {count} taps, which is no multiple of {TAPS}"
                )));
            }
        };
        if !(1..=MOST_RATIO).contains(&ratio) {
            return Err(fault(format!(
                "changes the resolution by {ratio}, and 1 to {MOST_RATIO} are read"
            )));
        }
        let taps = self.get(&name, &shape)?.to_dtype(DType::F64)?;
        let taps = match shape.len() {
            1 => taps.unsqueeze(1)?.broadcast_mul(&taps.unsqueeze(0)?)?,
            _ => taps,
        };
        Ok((taps.to_vec2()?, ratio))
    }
}
