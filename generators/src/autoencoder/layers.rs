//! Layers that only autoencoders have.

use candle_core::{Result, Tensor};
use frozen::{Layer, Pullback};

/// `scale x + shift`.
pub(super) struct Affine {
    pub scale: f64,
    pub shift: f64,
}

impl Layer for Affine {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        x.affine(self.scale, self.shift)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let scale = self.scale;
        Ok((self.eval(x)?, Box::new(move |grad| grad * scale)))
    }
}

/// `limit tanh(x / limit)`: TAESD's soft clamp of its latents.
pub(super) struct SoftClamp {
    pub limit: f64,
}

impl Layer for SoftClamp {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        (x / self.limit)?.tanh()? * self.limit
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let squashed = (x / self.limit)?.tanh()?;
        let y = (&squashed * self.limit)?;
        let slope = squashed.sqr()?.affine(-1.0, 1.0)?;
        Ok((y, Box::new(move |grad| grad * &slope)))
    }
}

/// The first `channels` of each picture: the means among the moments of an AutoencoderKL's encoder.
pub(super) struct FirstChannels {
    pub channels: usize,
}

impl Layer for FirstChannels {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        x.narrow(1, 0, self.channels)?.contiguous()
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let rest = x.dims4()?.1 - self.channels;
        let pullback = move |grad: &Tensor| grad.pad_with_zeros(1, 0, rest);
        Ok((self.eval(x)?, Box::new(pullback)))
    }
}
