//! What the networks of all GANs have in common.

use candle_core::{Device, Result, Tensor};

/// Takes d(loss)/d(picture) back to each latent, in the order and shapes of the latents.
pub type LatentPullback = Box<dyn Fn(&Tensor) -> Result<Vec<Tensor>> + Send + Sync>;

/// How latents are drawn.
#[derive(Clone, Debug)]
pub struct Sampling {
    /// Decides the random numbers.
    pub seed: u64,
    /// Truncation, 0..=1: 1 draws from the whole distribution, lower values closer to its middle, where pictures are cleaner and less varied.
    pub truncation: f64,
    /// Where the latents are.
    pub device: Device,
}

/// A part of what a network makes a picture of.
#[derive(Clone, Debug)]
pub struct Latent {
    /// Its name in a saved state, such as `z`, `w`, `classes` or `noise`.
    pub name: &'static str,
    /// Its value.
    pub value: Tensor,
    /// Its learning rate as a multiple of the generator's.
    pub learning_rate: f64,
}

/// The network of a GAN that makes pictures, frozen.
pub trait Network: Send + Sync {
    /// The architecture's name, for messages.
    fn architecture(&self) -> &'static str;

    /// Width and height of its pictures.
    fn size(&self) -> [usize; 2];

    /// Draws its latents. The same sampling has the same latents.
    ///
    /// # Errors
    /// When the device refuses.
    fn draw(&self, sampling: &Sampling) -> Result<Vec<Latent>>;

    /// The picture of these latents, `[1, 3, height, width]`, mostly in 0..=1 and not clamped to it.
    ///
    /// # Errors
    /// When the latents' shapes are not those of [`Network::draw`].
    fn eval(&self, latents: &[Tensor]) -> Result<Tensor> {
        Ok(self.vjp(latents)?.0)
    }

    /// [`Network::eval`], and the gradient's way back to the latents.
    ///
    /// # Errors
    /// As [`Network::eval`].
    fn vjp(&self, latents: &[Tensor]) -> Result<(Tensor, LatentPullback)>;

    /// The gradient of the network's own regulariser, which keeps latents where it was trained, in the order and shapes of the latents; `None`
    /// without one.
    ///
    /// # Errors
    /// As [`Network::eval`].
    fn regularizer_gradient(&self, _latents: &[Tensor]) -> Result<Option<Vec<Tensor>>> {
        Ok(None)
    }

    /// Brings latents back to where the network was trained after a step, such as by clamping them.
    ///
    /// # Errors
    /// As [`Network::eval`].
    fn constrain(&self, latents: Vec<Tensor>) -> Result<Vec<Tensor>> {
        Ok(latents)
    }
}
