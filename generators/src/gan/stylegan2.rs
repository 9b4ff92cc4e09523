//! StyleGAN2 (Karras et al. 2019): a mapping network from z to w, and a synthesis network whose convolutions are modulated by w.
//!
//! Latents are painted as `(w - mean) / deviation`, element by element, so that one learning rate and one regulariser suit every model: 0 is the
//! mean picture, and samples have a variance of about 1.

mod layers;
mod layout;
mod load;
mod noise;
#[cfg(test)]
mod nvidia_tests;
#[cfg(test)]
mod tests;

use candle_core::{Result, Tensor, bail};
use frozen::{Layer, Pullback, Upfirdn2d};

use self::layers::{StyledConv, StyledPullback, ToRgb};
use super::styles::Styles;
use super::{Architecture, Latent, LatentPullback, Network, Sampling};
use crate::random;

const NAME: &str = "StyleGAN2";

pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: NAME,
    // the moving average of training first: its pictures are the better ones
    marks: &[
        "g_ema.conv1.conv.modulation.weight",
        "conv1.conv.modulation.weight",
        "G_ema.synthesis.b4.conv1.affine.weight",
        "synthesis.b4.conv1.affine.weight",
    ],
    read: load::read,
};

/// Weight of the planes' regulariser, as NVIDIA's projector has it.
const PLANES_WEIGHT: f64 = 1e5;

/// The generator of a StyleGAN2.
pub struct StyleGan2 {
    styles: Styles,
    /// Whether the planes of noise are painted, too.
    paints_planes: bool,
    /// The features that everything begins with, [1, c, h, w].
    input: Tensor,
    /// The first convolution, and two for each doubling.
    convs: Vec<StyledConv>,
    /// One for each resolution.
    colors: Vec<ToRgb>,
    /// For each doubling, that of the picture before it.
    enlarge: Vec<Upfirdn2d>,
    /// The planes of all convolutions, [1, 1, h, w] each; empty where they are painted.
    planes: Vec<Tensor>,
    /// Height and width of the picture.
    size: [usize; 2],
}

/// What a picture was made of, for its gradient.
struct Tape {
    convs: Vec<StyledPullback>,
    /// For each resolution the way back to features and to w, and from the second on that to the smaller picture.
    colors: Vec<(layers::ColorPullback, Option<Pullback>)>,
}

/// The gradients of the two kinds of latents.
struct Gradients {
    /// Of each row of w, [1, w].
    rows: Vec<Tensor>,
    /// Of the planes, if they are painted.
    planes: Vec<Tensor>,
}

impl StyleGan2 {
    /// Mean and standard deviation of w, [1, w] each: latents of w are relative to them.
    pub fn statistics(&self) -> [&Tensor; 2] {
        self.styles.statistics()
    }

    /// Height and width of a convolution's result.
    fn plane_size(&self, conv: usize) -> [usize; 2] {
        let [h, w] = self.input_size();
        let doublings = conv.div_ceil(2);
        [h << doublings, w << doublings]
    }

    fn input_size(&self) -> [usize; 2] {
        let dims = self.input.dims();
        [dims[2], dims[3]]
    }

    /// Planes [1, 1, h, w] of a row of numbers.
    fn split_planes(&self, numbers: &Tensor) -> Result<Vec<Tensor>> {
        let mut start = 0;
        let planes = (0..self.convs.len()).map(|conv| {
            let [h, w] = self.plane_size(conv);
            let plane = numbers.narrow(1, start, h * w)?.contiguous()?;
            start += h * w;
            plane.reshape((1, 1, h, w))
        });
        planes.collect()
    }

    fn join_planes(planes: &[Tensor]) -> Result<Tensor> {
        let rows: Vec<Tensor> = (planes.iter())
            .map(|plane| plane.reshape((1, ())))
            .collect::<Result<_>>()?;
        Tensor::cat(&rows, 1)
    }

    /// Planes of normal noise, [1, pixels of all].
    fn draw_planes(&self, seed: u64) -> Result<Tensor> {
        let pixels =
            (0..self.convs.len()).map(|conv| self.plane_size(conv).iter().product::<usize>());
        random::noise(seed, 1, &[1, pixels.sum()], self.input.device())
    }

    /// The shapes of its latents.
    fn shapes(&self) -> Vec<Vec<usize>> {
        let mut shapes = vec![self.styles.shape()];
        if self.paints_planes {
            let pixels =
                (0..self.convs.len()).map(|conv| self.plane_size(conv).iter().product::<usize>());
            shapes.push(vec![1, pixels.sum()]);
        }
        shapes
    }

    fn check(&self, latents: &[Tensor]) -> Result<()> {
        let shapes = self.shapes();
        let found: Vec<&[usize]> = latents.iter().map(Tensor::dims).collect();
        if found != shapes {
            bail!("StyleGAN2: the latents have shapes {found:?}; {shapes:?} are needed");
        }
        Ok(())
    }

    /// The picture in -1..=1 of these rows of w and planes.
    fn synthesize(&self, rows: &[Tensor], planes: &[Tensor]) -> Result<(Tensor, Tape)> {
        let mut tape = Tape {
            convs: vec![],
            colors: vec![],
        };
        let mut features = self.input.clone();
        let mut picture: Option<Tensor> = None;
        let parts = self.convs.iter().zip(rows).zip(planes).enumerate();
        for (i, ((conv, row), plane)) in parts {
            let (next, back) = conv.vjp(&features, row, plane)?;
            features = next;
            tape.convs.push(back);
            if i % 2 == 1 {
                // the first of two at this resolution
                continue;
            }
            let (colors, back) = self.colors[i / 2].vjp(&features, &rows[i + 1])?;
            let (colors, below) = match picture {
                None => (colors, None),
                Some(picture) => {
                    let (enlarged, back) = self.enlarge[i / 2 - 1].vjp(&picture)?;
                    ((colors + enlarged)?, Some(back))
                }
            };
            picture = Some(colors);
            tape.colors.push((back, below));
        }
        match picture {
            Some(picture) => Ok((picture, tape)),
            None => bail!("StyleGAN2: it has no layers"),
        }
    }
}

impl Tape {
    fn pull(&self, grad: &Tensor, with_planes: bool) -> Result<Gradients> {
        let count = self.convs.len();
        let mut rows: Vec<Option<Tensor>> = vec![None; count + 1];
        let mut planes = vec![];
        let mut features: Option<Tensor> = None;
        let mut picture = grad.clone();
        for (i, conv) in self.convs.iter().enumerate().rev() {
            if i % 2 == 0 {
                let (colors, below) = &self.colors[i / 2];
                let (part, row) = colors.pull(&picture)?;
                frozen::add_to(&mut features, part)?;
                frozen::add_to(&mut rows[i + 1], row)?;
                if let Some(below) = below {
                    picture = below(&picture)?;
                }
            }
            let Some(grad) = features.take() else {
                bail!("StyleGAN2: a layer has no gradient");
            };
            let pulled = conv.pull(&grad, with_planes)?;
            features = Some(pulled.x);
            frozen::add_to(&mut rows[i], pulled.w)?;
            planes.extend(pulled.plane);
        }
        planes.reverse();
        let rows: Option<Vec<Tensor>> = rows.into_iter().collect();
        match rows {
            Some(rows) => Ok(Gradients { rows, planes }),
            None => bail!("StyleGAN2: a row of w has no gradient"),
        }
    }
}

impl Network for StyleGan2 {
    fn architecture(&self) -> &'static str {
        NAME
    }

    fn size(&self) -> [usize; 2] {
        let [height, width] = self.size;
        [width, height]
    }

    fn draw(&self, sampling: &Sampling) -> Result<Vec<Latent>> {
        let mut latents = vec![self.styles.draw(sampling)?];
        if self.paints_planes {
            let planes = self.draw_planes(sampling.seed)?;
            latents.push(Latent {
                name: "noise",
                value: planes.to_device(&sampling.device)?,
                learning_rate: 1.0,
            });
        }
        Ok(latents)
    }

    fn vjp(&self, latents: &[Tensor]) -> Result<(Tensor, LatentPullback)> {
        self.check(latents)?;
        let painted = match latents.get(1) {
            Some(planes) => Some(self.split_planes(planes)?),
            None => None,
        };
        let with_planes = painted.is_some();
        let planes = painted.as_deref().unwrap_or(&self.planes);
        let (rows, back) = self.styles.rows(&latents[0].detach())?;
        let (picture, tape) = self.synthesize(&rows, planes)?;
        let pullback = move |grad: &Tensor| {
            let Gradients { rows, planes } = tape.pull(&(grad * 0.5)?, with_planes)?;
            let mut gradients = vec![back(rows)?];
            if with_planes {
                gradients.push(Self::join_planes(&planes)?);
            }
            Ok(gradients)
        };
        Ok((picture.affine(0.5, 0.5)?, Box::new(pullback)))
    }

    /// Keeps each row from becoming longer than samples are, and pictures from being written into the planes.
    fn regularizer_gradient(&self, latents: &[Tensor]) -> Result<Option<Vec<Tensor>>> {
        self.check(latents)?;
        let mut gradients = vec![self.styles.regularizer_gradient(&latents[0])?];
        if let Some(numbers) = latents.get(1) {
            let planes = self.split_planes(numbers)?;
            let planes = (planes.iter())
                .map(noise::gradient)
                .collect::<Result<Vec<_>>>()?;
            gradients.push((Self::join_planes(&planes)? * PLANES_WEIGHT)?);
        }
        Ok(Some(gradients))
    }

    /// Planes of mean 0 and variance 1.
    fn constrain(&self, mut latents: Vec<Tensor>) -> Result<Vec<Tensor>> {
        self.check(&latents)?;
        if let Some(numbers) = latents.get_mut(1) {
            let planes = self.split_planes(numbers)?;
            let planes = (planes.iter())
                .map(noise::normalized)
                .collect::<Result<Vec<_>>>()?;
            *numbers = Self::join_planes(&planes)?;
        }
        Ok(latents)
    }
}
