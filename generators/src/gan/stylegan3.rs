//! StyleGAN3 (Karras et al. 2021, arXiv 2106.12423): everything begins with waves, every layer works on signals without frequencies that its
//! pixels could not hold, and nothing is tied to the places of pixels.
//!
//! Read are NVIDIA's generators of both kinds, T (translation) and R (translation and rotation), which differ in their kernels and filters only.

mod input;
mod layers;
mod load;
#[cfg(test)]
mod tests;

use candle_core::{Result, Tensor, bail};
use frozen::Layer;

use self::input::Waves;
use self::layers::FilteredConv;
use super::styles::Styles;
use super::{Architecture, Latent, LatentPullback, Network, Sampling};

const NAME: &str = "StyleGAN3";

pub(super) const ARCHITECTURE: Architecture = Architecture {
    name: NAME,
    // the moving average of training first: its pictures are the better ones
    marks: &["G_ema.synthesis.input.freqs", "synthesis.input.freqs"],
    read: load::read,
};

/// The generator of a StyleGAN3.
pub struct StyleGan3 {
    /// One row for the waves and one for each layer.
    styles: Styles,
    waves: Waves,
    /// The last one makes colours.
    layers: Vec<FilteredConv>,
    /// Factor of the last layer's colours, which are in -1..=1 then.
    scale: f64,
    /// Height and width of the picture.
    size: usize,
}

impl StyleGan3 {
    fn check(&self, latents: &[Tensor]) -> Result<()> {
        let shapes = [self.styles.shape()];
        let found: Vec<&[usize]> = latents.iter().map(Tensor::dims).collect();
        if found != shapes {
            bail!("StyleGAN3: the latents have shapes {found:?}; {shapes:?} are needed");
        }
        Ok(())
    }
}

impl Network for StyleGan3 {
    fn architecture(&self) -> &'static str {
        NAME
    }

    fn size(&self) -> [usize; 2] {
        [self.size; 2]
    }

    fn draw(&self, sampling: &Sampling) -> Result<Vec<Latent>> {
        Ok(vec![self.styles.draw(sampling)?])
    }

    fn vjp(&self, latents: &[Tensor]) -> Result<(Tensor, LatentPullback)> {
        self.check(latents)?;
        let (rows, styles) = self.styles.rows(&latents[0].detach())?;
        let (mut features, waves) = self.waves.vjp(&rows[0])?;
        let mut tape = Vec::with_capacity(self.layers.len());
        for (layer, row) in self.layers.iter().zip(&rows[1..]) {
            let (next, back) = layer.vjp(&features, row)?;
            features = next;
            tape.push(back);
        }
        let factor = self.scale * 0.5;
        let pullback = move |grad: &Tensor| {
            let mut grad = (grad * factor)?;
            let mut rows = Vec::with_capacity(tape.len() + 1);
            for back in tape.iter().rev() {
                let (x, row) = back.pull(&grad)?;
                grad = x;
                rows.push(row);
            }
            rows.push(waves(&grad)?);
            rows.reverse();
            Ok(vec![styles(rows)?])
        };
        Ok((features.affine(factor, 0.5)?, Box::new(pullback)))
    }

    /// Keeps each row from becoming longer than samples are.
    fn regularizer_gradient(&self, latents: &[Tensor]) -> Result<Option<Vec<Tensor>>> {
        self.check(latents)?;
        Ok(Some(vec![self.styles.regularizer_gradient(&latents[0])?]))
    }
}
