//! lightweight-gan (lucidrains' variant of FastGAN, github.com/lucidrains/lightweight-gan).
//!
//! Two versions are read, which their tensors tell apart: the present one, that enlarges by a convolution whose channels become pixels, and that of
//! the hub's community, that enlarges to the nearest pixel. In both the enlarged image is blurred. The noise of the present one stays the same,
//! as [FastGAN's](super::fastgan) does. Of a training program's checkpoint the average of the weights (`GE`) is used.

use candle_core::{D, Device, Result, Tensor};
use frozen::{
    Activation, Chain, Conv2d, Conv2dOptions, Glu, Layer, Linear, Pad, Residual, UpsampleNearest,
};
use weights::checkpoint::{Branch, Checkpoint, Scope};

use super::attention::{LocalAttention, attention};
use super::files::Architecture;
use super::ladder::{Ladder, LadderNetwork, Step};
use super::layers::{Norm, ToImage, Traced, plane};
use super::{GanError, Network, NetworkOptions};

const NAME: &str = "lightweight-gan";

pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: NAME,
    marks: &[
        "GE.initial_conv.0.weight",
        "G.initial_conv.0.weight",
        "initial_conv.0.weight",
    ],
    read,
};

/// The side after the first step.
const FIRST: usize = 4;
/// A step is scaled by the step so many before it.
const SKIPPED: usize = 3;
/// Doublings up to the largest picture, 4,096 pixels.
const MOST_STEPS: usize = 10;
/// The slope of leaky rectifiers below 0.
const LEAK: f64 = 0.1;
/// What L2 normalisation at least divides by.
const SHORTEST: f64 = 1e-12;

fn read(
    checkpoint: &Checkpoint,
    options: &NetworkOptions,
    device: &Device,
) -> std::result::Result<Box<dyn Network>, GanError> {
    options.allow(NAME, &[])?;
    let part = ["GE.", "G.", ""];
    let part = part
        .into_iter()
        .find(|part| checkpoint.has(&format!("{part}initial_conv.0.weight")));
    let reader = Reader {
        weights: Branch::root(checkpoint, device),
        part: part.unwrap_or(""),
        seed: options.seed,
        device,
    };
    let network = reader.network()?;
    // the other networks of the training program
    let others: &[&str] = match reader.part {
        "GE." => &["G.", "D.", "D_aug."],
        "G." => &["D.", "D_aug."],
        _ => &[],
    };
    checkpoint.finish(Scope::All, others)?;
    Ok(Box::new(network))
}

struct Reader<'a> {
    weights: Branch<'a>,
    /// In front of the generator's names.
    part: &'static str,
    seed: u64,
    device: &'a Device,
}

type Read<T> = std::result::Result<T, GanError>;

impl Reader<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.part)
    }

    fn has(&self, name: &str) -> bool {
        self.weights.has(&self.key(name))
    }

    fn get(&self, name: &str, shape: &[usize]) -> Read<Tensor> {
        Ok(self.weights.get(&self.key(name), shape)?)
    }

    fn norm(&self, name: &str, channels: usize) -> Read<Norm> {
        Norm::load(self.weights, &self.key(name), channels)
    }

    fn unsupported(&self, what: impl Into<String>) -> GanError {
        GanError::Unsupported {
            origin: self.weights.checkpoint().origin().to_owned(),
            architecture: NAME,
            what: what.into(),
        }
    }

    fn network(&self) -> Read<LadderNetwork> {
        let count = (0..=MOST_STEPS)
            .take_while(|index| self.has(&format!("layers.{index}.0.1.f")))
            .count();
        if count == 0 || count > MOST_STEPS {
            return Err(self.unsupported(format!(
                "it has {count} layers with a blur (`layers.0.0.1.f`), and 1 to {MOST_STEPS} are expected"
            )));
        }
        let [latents, ..]: [usize; 4] = self.weights.dims(&self.key("initial_conv.0.weight"))?;
        let mut steps = vec![Step {
            layer: self.first(latents)?,
            excitation: None,
        }];
        let mut all = vec![latents];
        for index in 0..count {
            let channels = all[index];
            let (layer, outputs) = self.step(index, channels)?;
            all.push(outputs);
            // the excitation is stored with the step that it looks at, which is the one after the step of its number
            let excitation = match (steps.len()).checked_sub(SKIPPED) {
                Some(source @ 1..) => {
                    let prefix = format!("layers.{}.1.", source - 1);
                    let side = FIRST << source;
                    self.excitation(&prefix, [all[source], outputs], side)?
                        .map(|layer| (source, layer))
                }
                _ => None,
            };
            steps.push(Step { layer, excitation });
        }
        let channels = all[count];
        Ok(LadderNetwork {
            architecture: NAME,
            ladder: Ladder {
                steps,
                last: self.last(channels)?,
            },
            latents,
            side: FIRST << count,
        })
    }

    /// The latent as an image whose channels have a length of 1.
    fn first(&self, latents: usize) -> Read<Box<dyn Layer>> {
        let doubled = 2 * latents;
        let weight = self.get("initial_conv.0.weight", &[latents, doubled, FIRST, FIRST])?;
        let bias = self.get("initial_conv.0.bias", &[doubled])?;
        let [weight, bias] = self
            .norm("initial_conv.1", doubled)?
            .fold(&weight, Some(&bias), 1)?;
        let pixels = FIRST * FIRST;
        let weight = weight.reshape((latents, doubled * pixels))?.t()?;
        let bias = bias.unsqueeze(1)?.broadcast_as((doubled, pixels))?;
        let unit_length = |x: &Tensor| {
            let length = x.sqr()?.sum_keepdim(1)?.sqrt()?;
            x.broadcast_div(&length.maximum(SHORTEST)?)
        };
        Ok(Box::new(Chain::new(vec![
            Box::new(Linear::new(weight, Some(bias.flatten_all()?))?),
            Box::new(ToImage { size: [FIRST; 2] }),
            Box::new(Glu::default()),
            Box::new(Traced(unit_length)),
        ])))
    }

    /// A step from `channels`, and its own.
    fn step(&self, index: usize, channels: usize) -> Read<(Box<dyn Layer>, usize)> {
        let name = |part: &str| format!("layers.{index}.{part}");
        let mut layers: Vec<Box<dyn Layer>> = vec![];
        if self.has(&name("2.norm.g")) {
            layers.push(self.attention(&name("2."), channels)?);
        }
        let is_present = self.has(&name("0.0.net.0.weight"));
        let (conv, kernel, norm) = if is_present {
            let weight = self.get(&name("0.0.net.0.weight"), &[4 * channels, channels, 1, 1])?;
            let bias = self.get(&name("0.0.net.0.bias"), &[4 * channels])?;
            layers.push(Box::new(Conv2d::new(
                weight,
                Some(bias),
                Conv2dOptions::default(),
            )?));
            layers.push(Box::new(Activation::Silu));
            layers.push(Box::new(Traced(pixels_of_channels)));
            (name("0.2.1"), 4, name("0.4"))
        } else {
            layers.push(Box::new(UpsampleNearest::new(2)?));
            (name("0.2"), 3, name("0.3"))
        };
        layers.push(self.blur(&name("0.1.f"))?);
        let [doubled, ..]: [usize; 4] = self.weights.dims(&self.key(&format!("{conv}.weight")))?;
        if doubled % 2 == 1 {
            return Err(self.unsupported(format!(
                "`{conv}` has {doubled} channels, of which a gated linear unit takes two each"
            )));
        }
        let shape = [doubled, channels, kernel, kernel];
        let weight = self.get(&format!("{conv}.weight"), &shape)?;
        let bias = self.get(&format!("{conv}.bias"), &[doubled])?;
        let norm = self.norm(&norm, doubled)?;
        let [weight, bias] = norm.fold(&weight, Some(&bias), 0)?;
        let mut glu = Glu::default();
        if is_present {
            // as much padding as keeps the size
            layers.push(Box::new(Pad::new([2, 1], [2, 1], [false; 2])));
            layers.push(Box::new(Conv2d::new(
                weight,
                Some(bias),
                Conv2dOptions::default(),
            )?));
            let strength = self.get(&name("0.3.weight"), &[1])?;
            let plane = plane(self.seed, index + 1, (2 * FIRST) << index, self.device)?;
            glu = Glu::with_noise(plane, norm.scale.broadcast_mul(&strength)?)?;
        } else {
            let options = Conv2dOptions {
                padding: 1,
                ..Conv2dOptions::default()
            };
            layers.push(Box::new(Conv2d::new(weight, Some(bias), options)?));
        }
        layers.push(Box::new(glu));
        Ok((Box::new(Chain::new(layers)), doubled / 2))
    }

    /// A blur by the outer product of three weights with themselves, the image mirrored at its edges.
    fn blur(&self, name: &str) -> Read<Box<dyn Layer>> {
        let weights: Vec<f32> = self.get(name, &[3])?.to_vec1()?;
        let sum: f32 = weights.iter().sum();
        if !(sum.is_finite() && sum != 0.0) {
            return Err(self.unsupported(format!("the blur `{name}` has weights of the sum {sum}")));
        }
        let taps = [weights[0], weights[1], weights[2]].map(|weight| f64::from(weight / sum));
        Ok(Box::new(Traced(move |x: &Tensor| {
            blur_along(&blur_along(x, 2, taps)?, 3, taps)
        })))
    }

    /// What scales channels: from an image to a number for each of other channels.
    fn excitation(
        &self,
        prefix: &str,
        [inputs, outputs]: [usize; 2],
        side: usize,
    ) -> Read<Option<Box<dyn Layer>>> {
        let name = |part: &str| format!("{prefix}{part}");
        if !self.has(&name("net.0.weight")) {
            return Ok(None);
        }
        let key = self.key(&name("net.0.weight"));
        let [inner, ..]: [usize; 4] = self.weights.dims(&key)?;
        let reduce = self.get(&name("net.0.weight"), &[inner, inputs, 1, 1])?;
        let reduce_bias = self.get(&name("net.0.bias"), &[inner])?;
        let expand = self.get(&name("net.2.weight"), &[outputs, inner, 1, 1])?;
        let expand_bias = self.get(&name("net.2.bias"), &[outputs])?;
        let gates = move |pooled: &Tensor| -> Result<Tensor> {
            let linear = |x: &Tensor, weight: &Tensor, bias: &Tensor| {
                let weight = weight.flatten_from(1)?.t()?;
                x.matmul(&weight)?.broadcast_add(&bias.unsqueeze(0)?)
            };
            let hidden = linear(pooled, &reduce, &reduce_bias)?;
            let hidden = hidden.maximum(&(&hidden * LEAK)?)?;
            let gates = linear(&hidden, &expand, &expand_bias)?;
            ((gates.neg()?.exp()? + 1.0)?.recip()?).reshape((1, (), 1, 1))
        };
        if self.has(&name("dct_weights")) {
            let shape = [1, inputs, side, side];
            let frequencies = self.get(&name("dct_weights"), &shape)?;
            let pooled = move |x: &Tensor| x.broadcast_mul(&frequencies)?.sum((2, 3));
            return Ok(Some(Box::new(Traced(move |x: &Tensor| gates(&pooled(x)?)))));
        }
        let keys = self.get(&name("to_k.weight"), &[1, inputs, 1, 1])?;
        let keys = keys.reshape((1, inputs))?;
        let bias = self.get(&name("to_k.bias"), &[1])?;
        let pooled = move |x: &Tensor| {
            let x = x.flatten_from(2)?.squeeze(0)?;
            let scores = keys.matmul(&x)?.broadcast_add(&bias)?;
            let scores = scores
                .broadcast_sub(&scores.detach().max_keepdim(D::Minus1)?)?
                .exp()?;
            let shares = scores.broadcast_div(&scores.sum_keepdim(D::Minus1)?)?;
            shares.matmul(&x.t()?)
        };
        Ok(Some(Box::new(Traced(move |x: &Tensor| gates(&pooled(x)?)))))
    }

    /// Attention over the image that a step begins with.
    fn attention(&self, prefix: &str, channels: usize) -> Read<Box<dyn Layer>> {
        let name = |part: &str| format!("{prefix}{part}");
        let get = |part: &str, shape: &[usize]| self.get(&name(part), shape);
        let gain = get("norm.g", &[1, channels, 1, 1])?;
        let shift = get("norm.b", &[1, channels, 1, 1])?;
        // the present version has two kinds of attention side by side
        let is_present = self.has(&name("fn.to_lin_q.weight"));
        let (query, pair) = if is_present {
            ("fn.to_lin_q.weight", "fn.to_lin_kv.net")
        } else {
            ("fn.to_q.weight", "fn.to_kv.net")
        };
        let [inner, ..]: [usize; 4] = self.weights.dims(&self.key(&name(query)))?;
        let linear = [
            get(query, &[inner, channels, 1, 1])?,
            get(&format!("{pair}.0.weight"), &[channels, 1, 3, 3])?,
            get(&format!("{pair}.1.weight"), &[2 * inner, channels, 1, 1])?,
        ];
        let local = if is_present {
            Some(LocalAttention {
                query: get("fn.to_q.weight", &[inner, channels, 1, 1])?,
                pair: get("fn.to_kv.weight", &[2 * inner, channels, 1, 1])?,
            })
        } else {
            None
        };
        let both = inner * (1 + usize::from(is_present));
        let output = get("fn.to_out.weight", &[channels, both, 1, 1])?;
        let bias = get("fn.to_out.bias", &[channels])?.reshape((1, channels, 1, 1))?;
        let layer = attention([gain, shift], linear, local, [output, bias]);
        let layer = layer.map_err(|what| self.unsupported(format!("`{prefix}*` {what}")))?;
        Ok(Box::new(Residual(Traced(layer))))
    }

    /// The picture; of one channel it is grey.
    fn last(&self, channels: usize) -> Read<Box<dyn Layer>> {
        let [colors, ..]: [usize; 4] = self.weights.dims(&self.key("out_conv.weight"))?;
        let weight = self.get("out_conv.weight", &[colors, channels, 3, 3])?;
        let bias = self.get("out_conv.bias", &[colors])?;
        let [weight, bias] = match colors {
            3 => [weight, bias],
            1 => [Tensor::cat(&[&weight; 3], 0)?, Tensor::cat(&[&bias; 3], 0)?],
            4 => {
                return Err(self.unsupported(
                    "it makes transparent pictures of four channels, which are not supported",
                ));
            }
            _ => return Err(self.unsupported(format!("its pictures have {colors} channels"))),
        };
        let options = Conv2dOptions {
            padding: 1,
            ..Conv2dOptions::default()
        };
        Ok(Box::new(Conv2d::new(weight, Some(bias), options)?))
    }
}

/// `[1, 4 c, h, w]` to `[1, c, 2 h, 2 w]`, four channels to the four pixels of a square (`torch.nn.PixelShuffle`).
fn pixels_of_channels(x: &Tensor) -> Result<Tensor> {
    let (b, c, h, w) = x.dims4()?;
    let c = c / 4;
    let x = x.reshape(&[b, c, 2, 2, h, w][..])?;
    x.permute([0, 1, 4, 2, 5, 3])?.reshape((b, c, 2 * h, 2 * w))
}

/// Weighted with its two neighbours along an axis, those beyond an edge being mirrored there.
fn blur_along(x: &Tensor, dim: usize, [before, own, after]: [f64; 3]) -> Result<Tensor> {
    let size = x.dim(dim)?;
    let first = x.narrow(dim, 1, 1)?;
    let last = x.narrow(dim, size - 2, 1)?;
    let padded = Tensor::cat(&[&first, x, &last], dim)?;
    let part = |start: usize, weight: f64| padded.narrow(dim, start, size)? * weight;
    (part(0, before)? + part(1, own)?)? + part(2, after)?
}
