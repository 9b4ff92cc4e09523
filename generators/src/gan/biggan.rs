//! BigGAN-deep (Brock et al. 2018) in the layout of pytorch-pretrained-BigGAN: a class and noise, which condition the normalisation of every block.
//!
//! As in big-sleep, each block has noise and classes of its own, and classes are soft.

mod classes;
mod config;
mod layers;
mod load;
mod regularizer;
#[cfg(test)]
mod tests;

use candle_core::{DType, Device, Result, Tensor, bail};
use frozen::{Chain, Layer, Linear, Pullback};
use phantasia_core::random::{normal, uniform};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use self::classes::Classes;
use self::layers::{Attention, Block, BlockPullback};
use super::{Architecture, Latent, LatentPullback, Network, Sampling};

const NAME: &str = "BigGAN-deep";

pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: NAME,
    marks: &["generator.layers.0.bn_0.running_means"],
    read: load::read,
};

/// The generator of a BigGAN-deep.
pub struct BigGan {
    /// How numbers become weights of classes.
    choice: Classes,
    /// The classes that starts are of; none for all.
    start: Vec<usize>,
    /// Numbers of noise, and of classes.
    z_size: usize,
    classes: usize,
    /// From weights of classes to their part of the condition.
    embeddings: Linear,
    /// From the condition to the first features, [1, 4 4 c].
    first: Linear,
    /// Channels of the first features.
    channels: usize,
    layers: Vec<Part>,
    /// From the last features to the picture.
    last: Chain,
    /// Side of the picture.
    side: usize,
}

enum Part {
    Block(Box<Block>),
    Attention(Attention),
}

enum PartPullback {
    Block(Box<BlockPullback>),
    Attention(Pullback),
}

/// The side of the first features.
const FIRST: usize = 4;
/// The largest number of noise: that of a normal distribution cut there.
const NOISE_LIMIT: f32 = 2.0;

impl BigGan {
    /// Rows of latents: for the first features, and for each block.
    fn rows(&self) -> usize {
        let blocks = (self.layers.iter()).filter(|part| matches!(part, Part::Block(_)));
        blocks.count() + 1
    }

    fn shapes(&self) -> [[usize; 2]; 2] {
        [[self.rows(), self.z_size], [self.rows(), self.classes]]
    }

    fn check(&self, latents: &[Tensor]) -> Result<()> {
        let shapes = self.shapes();
        if latents.len() != 2
            || latents
                .iter()
                .zip(shapes)
                .any(|(x, shape)| x.dims() != shape)
        {
            let found: Vec<&[usize]> = latents.iter().map(Tensor::dims).collect();
            bail!("BigGAN: the latents have shapes {found:?}; {shapes:?} are needed");
        }
        Ok(())
    }

    /// The picture of conditions, [rows, c], and the way back to them.
    fn synthesize(&self, conditions: &Tensor) -> Result<(Tensor, Pullback)> {
        let rows = conditions.dims()[0];
        let row = |index: usize| conditions.narrow(0, index, 1)?.contiguous();
        let (x, first) = self.first.vjp(&row(0)?)?;
        // channels come last in TensorFlow, which trained it
        let x = x.reshape((1, FIRST, FIRST, self.channels))?;
        let mut x = x.permute((0, 3, 1, 2))?.contiguous()?;
        let mut tape = vec![];
        let mut block = 0;
        for part in &self.layers {
            let (y, back) = match part {
                Part::Block(layer) => {
                    block += 1;
                    let (y, back) = layer.vjp(&x, &row(block)?)?;
                    (y, PartPullback::Block(Box::new(back)))
                }
                Part::Attention(layer) => {
                    let (y, back) = layer.vjp(&x)?;
                    (y, PartPullback::Attention(back))
                }
            };
            x = y;
            tape.push(back);
        }
        let (picture, last) = self.last.vjp(&x)?;
        let pullback = move |grad: &Tensor| {
            let mut grad = last(grad)?;
            let mut conditions: Vec<Option<Tensor>> = vec![None; rows];
            let mut index = block;
            for back in tape.iter().rev() {
                grad = match back {
                    PartPullback::Attention(back) => back(&grad)?,
                    PartPullback::Block(back) => {
                        let (grad, condition) = back.pull(&grad)?;
                        frozen::add_to(&mut conditions[index], condition)?;
                        index -= 1;
                        grad
                    }
                };
            }
            let grad = grad.permute((0, 2, 3, 1))?.contiguous()?.reshape((1, ()))?;
            frozen::add_to(&mut conditions[0], first(&grad)?)?;
            let conditions: Option<Vec<Tensor>> = conditions.into_iter().collect();
            match conditions {
                Some(conditions) => Tensor::cat(&conditions, 0),
                None => bail!("BigGAN: a row of its latents has no gradient"),
            }
        };
        Ok((picture, Box::new(pullback)))
    }
}

/// Rows on the processor: there are a dozen of a thousand numbers.
fn host(x: &Tensor) -> Result<Vec<Vec<f64>>> {
    let x = x.to_device(&Device::Cpu)?;
    x.to_dtype(DType::F64)?.to_vec2()
}

/// The rows as a tensor of the type and on the device of another.
fn tensor(rows: Vec<Vec<f64>>, like: &Tensor) -> Result<Tensor> {
    let numbers = Tensor::from_vec(rows.concat(), like.shape(), &Device::Cpu)?;
    numbers.to_dtype(like.dtype())?.to_device(like.device())
}

impl Network for BigGan {
    fn architecture(&self) -> &'static str {
        NAME
    }

    fn size(&self) -> [usize; 2] {
        [self.side; 2]
    }

    /// The same noise for all rows, and one class.
    fn draw(&self, sampling: &Sampling) -> Result<Vec<Latent>> {
        let mut rng = ChaCha8Rng::seed_from_u64(sampling.seed);
        let choices = if self.start.is_empty() {
            self.classes
        } else {
            self.start.len()
        };
        let drawn = uniform(&mut rng, 0.0, choices as f64) as usize;
        let class = self.start.get(drawn).copied().unwrap_or(drawn);
        let noise: Vec<f32> = normal(&mut rng)
            .filter(|number| number.abs() <= NOISE_LIMIT)
            .map(|number| number * sampling.truncation as f32)
            .take(self.z_size)
            .collect();
        let classes = self.choice.start(class, self.classes, &mut rng);
        let latent = |name, numbers: Vec<f32>| -> Result<Latent> {
            let row = Tensor::from_vec(numbers, (1, ()), &sampling.device)?;
            let shape = (self.rows(), row.elem_count());
            Ok(Latent {
                name,
                value: row.broadcast_as(shape)?.contiguous()?,
                learning_rate: 1.0,
            })
        };
        Ok(vec![latent("z", noise)?, latent("classes", classes)?])
    }

    fn vjp(&self, latents: &[Tensor]) -> Result<(Tensor, LatentPullback)> {
        self.check(latents)?;
        let (z, numbers) = (latents[0].detach(), &latents[1]);
        let (weights, to_numbers) = self.choice.vjp(numbers)?;
        let (embedded, to_weights) = self.embeddings.vjp(&weights)?;
        let size = self.z_size;
        let (picture, back) = self.synthesize(&Tensor::cat(&[&z, &embedded], 1)?)?;
        let pullback = move |grad: &Tensor| {
            let conditions = back(grad)?;
            let rest = conditions.dims()[1] - size;
            let z = conditions.narrow(1, 0, size)?.contiguous()?;
            let embedded = conditions.narrow(1, size, rest)?.contiguous()?;
            Ok(vec![z, to_numbers(&to_weights(&embedded)?)?])
        };
        Ok((picture, Box::new(pullback)))
    }

    /// big-sleep's: noise that is like that of a normal distribution, and few classes.
    fn regularizer_gradient(&self, latents: &[Tensor]) -> Result<Option<Vec<Tensor>>> {
        self.check(latents)?;
        let (weights, back) = self.choice.vjp(&latents[1])?;
        let classes = back(&regularizer::of_classes(&weights)?)?;
        Ok(Some(vec![regularizer::of_noise(&latents[0])?, classes]))
    }
}
