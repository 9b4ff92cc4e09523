//! What the StyleGANs share: the mapping network from z to w, and the latents that they are painted by.

use candle_core::{DType, Device, Result, Tensor};
use frozen::{Chain, Layer, Linear, Pullback};
use weights::checkpoint::Branch;

use super::layers::length_gradient;
use super::{GanError, Latent, NetworkOptions, Sampling, Space};
use crate::layers::Loaded;
use crate::random;

/// Factor of what is below 0, and the gain that keeps the variance, of every activation.
pub(super) const SLOPE: f64 = 0.2;
pub(super) const GAIN: f64 = std::f64::consts::SQRT_2;

const PIXEL_NORM_EPS: f64 = 1e-8;
/// Factor of the mapping network's weights, which learned at a hundredth of the rate.
const MAPPING_RATE: f64 = 0.01;
/// The most layers of the mapping network, channels, and numbers of z and of w: what published models have, and some more. A file could name any.
const MOST_MAPPING: usize = 32;
pub(super) const MOST_CHANNELS: usize = 4096;
/// How much z is drawn for mean and deviation of w.
const SAMPLES: usize = 4096;
/// Numbers of their seed.
const SAMPLES_SEED: u64 = 0;
/// The most classes of a conditional network, and numbers of each.
const MOST_CLASSES: usize = 1 << 16;

/// The mapping network, and the latents: `(w - mean) / deviation`, element by element, or z.
pub(super) struct Styles {
    space: Space,
    /// That of pictures painted by z, which is applied behind the mapping network; that of w is in what is drawn.
    truncation: f64,
    /// From z to w, [n, z] to [n, w].
    mapping: Chain,
    z_size: usize,
    /// Mean and standard deviation of w, [1, w].
    mean: Tensor,
    deviation: Tensor,
    /// How many rows of w the layers have.
    rows: usize,
}

/// Takes the gradients of rows of w back to the latent.
pub(super) type StylesPullback = Box<dyn Fn(Vec<Tensor>) -> Result<Tensor> + Send + Sync>;

impl Styles {
    /// Painted by rows of w unless the options say otherwise. Without a mean it is that of samples.
    pub fn new(
        Mapping {
            layers,
            z_size,
            mean,
        }: Mapping,
        rows: usize,
        options: &NetworkOptions,
        device: &Device,
    ) -> Result<Self> {
        let z = random::noise(SAMPLES_SEED, 0, &[SAMPLES, z_size], device)?;
        let w = layers.eval(&z)?.to_dtype(DType::F32)?;
        let sampled = w.mean_keepdim(0)?;
        let variance = w.broadcast_sub(&sampled)?.sqr()?.mean_keepdim(0)?;
        Ok(Self {
            space: options.space.unwrap_or(Space::WPlus),
            truncation: options.truncation,
            mapping: layers,
            z_size,
            mean: mean.unwrap_or(sampled),
            // a mapping that ignores z has no deviation, and is not divided by it
            deviation: variance.sqrt()?.maximum(1e-6)?,
            rows,
        })
    }

    /// Mean and standard deviation of w, [1, w] each: latents of w are relative to them.
    pub fn statistics(&self) -> [&Tensor; 2] {
        [&self.mean, &self.deviation]
    }

    /// The shape of the latent.
    pub fn shape(&self) -> Vec<usize> {
        match self.space {
            Space::Z => vec![1, self.z_size],
            Space::W => vec![1, self.mean.elem_count()],
            Space::WPlus => vec![1, self.rows, self.mean.elem_count()],
        }
    }

    /// `(w - mean) / deviation`.
    pub fn whitened(&self, w: &Tensor) -> Result<Tensor> {
        (w.broadcast_sub(&self.mean)?).broadcast_div(&self.deviation)
    }

    /// A latent at random.
    pub fn draw(&self, sampling: &Sampling) -> Result<Latent> {
        let z = random::noise(sampling.seed, 0, &[1, self.z_size], &sampling.device)?;
        let (name, value) = match self.space {
            Space::Z => ("z", z),
            space => {
                let w = self.whitened(&self.mapping.eval(&z)?)?;
                let w = (w * sampling.truncation)?;
                match space {
                    Space::WPlus => {
                        let w = w.unsqueeze(1)?.broadcast_as(self.shape())?;
                        ("w", w.contiguous()?)
                    }
                    _ => ("w", w),
                }
            }
        };
        Ok(Latent {
            name,
            value,
            learning_rate: 1.0,
        })
    }

    /// w of each layer, [1, w], and the way back of their gradients to the latent.
    pub fn rows(&self, latent: &Tensor) -> Result<(Vec<Tensor>, StylesPullback)> {
        let (count, deviation) = (self.rows, self.deviation.clone());
        let of_whitened =
            |latent: &Tensor| (latent.broadcast_mul(&self.deviation))?.broadcast_add(&self.mean);
        match self.space {
            Space::WPlus => {
                let rows = of_whitened(latent)?;
                let rows = (0..count).map(|row| rows.get_on_dim(1, row)?.contiguous());
                let back =
                    move |rows: Vec<Tensor>| Tensor::stack(&rows, 1)?.broadcast_mul(&deviation);
                Ok((rows.collect::<Result<_>>()?, Box::new(back)))
            }
            Space::W => {
                let w = of_whitened(latent)?;
                let back = move |rows: Vec<Tensor>| total(&rows)?.broadcast_mul(&deviation);
                Ok((vec![w; count], Box::new(back)))
            }
            Space::Z => {
                let psi = self.truncation;
                let (w, back) = self.mapping.vjp(latent)?;
                // the mean, and a part of the way from it to w
                let w = ((w * psi)? + (&self.mean * (1.0 - psi))?)?;
                let back = move |rows: Vec<Tensor>| back(&(total(&rows)? * psi)?);
                Ok((vec![w; count], Box::new(back)))
            }
        }
    }

    /// The gradient of what keeps each row, or z, from becoming longer than samples are.
    pub fn regularizer_gradient(&self, latent: &Tensor) -> Result<Tensor> {
        match self.space {
            Space::WPlus => {
                let rows = (0..self.rows).map(|row| length_gradient(&latent.narrow(1, row, 1)?));
                Tensor::cat(&rows.collect::<Result<Vec<_>>>()?, 1)
            }
            Space::Z | Space::W => length_gradient(latent),
        }
    }
}

/// The sum of tensors of one shape.
fn total(parts: &[Tensor]) -> Result<Tensor> {
    Tensor::stack(parts, 0)?.sum(0)
}

/// A mapping network.
pub(super) struct Mapping {
    layers: Chain,
    z_size: usize,
    /// The mean of w, [1, w], if it is known.
    mean: Option<Tensor>,
}

impl Mapping {
    /// Reads the layers whose names `layer` says by their number, up to the first that is not there. Returns an error in words if there are too many.
    ///
    /// `mean` is the name of the mean of w, and `class` what a class adds to each z.
    pub fn load(
        weights: Branch,
        layer: impl Fn(usize) -> String,
        [z_size, w_size]: [usize; 2],
        mean: &str,
        class: Option<Tensor>,
    ) -> Loaded<std::result::Result<Self, String>> {
        let mut layers: Vec<Box<dyn Layer>> = vec![Box::new(PixelNorm)];
        let mut inputs = z_size;
        if let Some(class) = class {
            inputs += class.elem_count();
            layers.push(Box::new(Append(class)));
        }
        let there = |name: &String| weights.has(&format!("{name}.weight"));
        for (number, name) in (0..).map(layer).take_while(there).enumerate() {
            if number == MOST_MAPPING {
                return Ok(Err(format!(
                    "its mapping network has more than {MOST_MAPPING} layers"
                )));
            }
            let linear = equalized(weights, &name, [inputs, w_size], MAPPING_RATE)?;
            layers.push(Box::new(linear));
            layers.push(Box::new(LeakyRelu));
            inputs = w_size;
        }
        let mean = match weights.has(mean) {
            true => Some(weights.get(mean, &[w_size])?.unsqueeze(0)?),
            false => None,
        };
        Ok(Ok(Self {
            layers: Chain::new(layers),
            z_size,
            mean,
        }))
    }
}

/// The mapping network of NVIDIA's layout, and how many numbers w has. `prefix` is in front of all names, and `known` are the settings that the
/// architecture has besides the class of conditional ones.
pub(super) fn nvidia_mapping(
    weights: Branch,
    prefix: &str,
    architecture: &'static str,
    options: &NetworkOptions,
    known: &[&'static str],
) -> std::result::Result<(Mapping, usize), GanError> {
    let fault = |what: String| GanError::Unsupported {
        origin: weights.checkpoint().origin().to_owned(),
        architecture,
        what,
    };
    let key = |name: &str| format!("{prefix}mapping.{name}");
    let mut known = known.to_vec();
    let [w_size, inputs] = weights.dims(&key("fc0.weight"))?;
    let embed = key("embed");
    let conditional = weights.has(&format!("{embed}.weight"));
    if conditional {
        known.push("class");
    }
    options.allow(architecture, &known)?;
    let class = if conditional {
        let [size, classes] = weights.dims(&format!("{embed}.weight"))?;
        if size.max(classes) > MOST_CLASSES {
            return Err(fault(format!(
                "its {classes} classes have {size} numbers each, and at most {MOST_CLASSES} are read"
            )));
        }
        let class = only_class(options, classes, architecture)?;
        let weight = weights.get(&format!("{embed}.weight"), &[size, classes])?;
        let weight = (weight.narrow(1, class, 1)?.t()? / (classes as f64).sqrt())?;
        let bias = weights.get(&format!("{embed}.bias"), &[size])?;
        Some(PixelNorm.eval(&weight.broadcast_add(&bias)?.contiguous()?)?)
    } else {
        None
    };
    let embedded = class.as_ref().map_or(0, Tensor::elem_count);
    let z_size = inputs.saturating_sub(embedded);
    if z_size == 0 || z_size.max(w_size) > MOST_CHANNELS {
        return Err(fault(format!(
            "its mapping network makes {w_size} numbers of {z_size}; 1 to {MOST_CHANNELS} are read"
        )));
    }
    let layer = |number| key(&format!("fc{number}"));
    let mapping = Mapping::load(weights, layer, [z_size, w_size], &key("w_avg"), class)?;
    Ok((mapping.map_err(fault)?, w_size))
}

/// The class of a conditional network's pictures.
fn only_class(
    options: &NetworkOptions,
    classes: usize,
    architecture: &'static str,
) -> std::result::Result<usize, GanError> {
    let what = match options.class.as_deref() {
        Some([class]) => match class.number(classes, None) {
            Ok(class) => return Ok(class),
            Err(what) => what,
        },
        Some(several) => format!("it paints one class, and {} are named", several.len()),
        None => {
            format!("it paints one of {classes} classes: name its number, such as `class: [0]`")
        }
    };
    Err(GanError::Value {
        key: "class",
        architecture,
        what,
    })
}

/// A linear layer whose weights are scaled at run time where it was trained.
pub(super) fn equalized(
    weights: Branch,
    name: &str,
    [input, output]: [usize; 2],
    rate: f64,
) -> Loaded<Linear> {
    let weight = weights.get(&format!("{name}.weight"), &[output, input])?;
    let bias = weights.get(&format!("{name}.bias"), &[output])?;
    let weight = (weight * (rate / (input as f64).sqrt()))?;
    Ok(Linear::new(weight, Some((bias * rate)?))?)
}

/// Rows scaled to a mean square of 1.
struct PixelNorm;

impl PixelNorm {
    fn factor(x: &Tensor) -> Result<Tensor> {
        (x.sqr()?.mean_keepdim(1)? + PIXEL_NORM_EPS)?
            .sqrt()?
            .recip()
    }
}

impl Layer for PixelNorm {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        x.broadcast_mul(&Self::factor(x)?)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let factor = Self::factor(x)?;
        let y = x.broadcast_mul(&factor)?;
        let value = y.clone();
        let pullback = move |grad: &Tensor| {
            let along = (grad * &value)?.mean_keepdim(1)?;
            let across = (grad - value.broadcast_mul(&along)?)?;
            across.broadcast_mul(&factor)
        };
        Ok((y, Box::new(pullback)))
    }
}

/// The same numbers, [1, n], behind each row.
struct Append(Tensor);

impl Layer for Append {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let numbers = self.0.to_dtype(x.dtype())?;
        let numbers = numbers.broadcast_as((x.dim(0)?, numbers.elem_count()))?;
        Tensor::cat(&[x, &numbers.contiguous()?], 1)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let width = x.dim(1)?;
        let back = move |grad: &Tensor| grad.narrow(1, 0, width)?.contiguous();
        Ok((self.eval(x)?, Box::new(back)))
    }
}

/// The activation of the mapping network, on rows.
struct LeakyRelu;

impl Layer for LeakyRelu {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        x.maximum(&(x * SLOPE)?)? * GAIN
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let above = x.gt(&x.zeros_like()?)?.to_dtype(x.dtype())?;
        let slope = above.affine(GAIN * (1.0 - SLOPE), GAIN * SLOPE)?;
        Ok((self.eval(x)?, Box::new(move |grad| grad * &slope)))
    }
}

/// Values kept within `-limit..=limit`, as these networks were trained to run in 16 bits, and the way back of their gradients.
pub(super) fn clamp(y: Tensor, limit: Option<f64>) -> Result<(Tensor, Clamped)> {
    let Some(limit) = limit else {
        return Ok((y, Clamped(None)));
    };
    let size = y.abs()?;
    let largest = size.max_all()?.to_dtype(DType::F32)?.to_scalar::<f32>()?;
    // nearly always nothing is that large
    if f64::from(largest) <= limit {
        return Ok((y, Clamped(None)));
    }
    let inside = size.le(limit)?.to_dtype(y.dtype())?;
    Ok((y.clamp(-limit, limit)?, Clamped(Some(inside))))
}

/// What a [`clamp`] left as it was: 1, elsewhere 0; none where that is everything.
pub(super) struct Clamped(Option<Tensor>);

impl Clamped {
    /// The gradient before it.
    pub fn pull(&self, grad: &Tensor) -> Result<Tensor> {
        match &self.0 {
            Some(inside) => grad * inside,
            None => Ok(grad.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gan::testing::{slopes_agree, wave};

    #[test]
    fn the_mapping_matches_finite_differences() -> Result<()> {
        let layers: [&dyn Layer; 3] = [&PixelNorm, &Append(wave(0.3, &[1, 2])?), &LeakyRelu];
        for layer in layers {
            slopes_agree(
                &[wave(1.0, &[2, 5])?],
                |x| layer.eval(&x[0]),
                |x, g| Ok(vec![layer.vjp(&x[0])?.1(g)?]),
            )?;
        }
        Ok(())
    }

    #[test]
    fn clamped_values_have_no_gradient() -> Result<()> {
        for limit in [None, Some(0.8), Some(9.0)] {
            slopes_agree(
                &[wave(1.0, &[2, 5])?],
                |x| Ok(clamp(x[0].clone(), limit)?.0),
                |x, g| Ok(vec![clamp(x[0].clone(), limit)?.1.pull(g)?]),
            )?;
        }
        Ok(())
    }
}
