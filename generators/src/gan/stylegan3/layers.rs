//! A convolution that a style modulates, and an activation at a higher resolution, so that it adds no frequencies that pixels could not hold.

use candle_core::{Result, Tensor};
use frozen::{
    Conv2d, Conv2dOptions, Film, FilmTape, Layer, Linear, Pullback, Upfirdn2d, channel_products,
};

use crate::gan::styles::{Clamped, GAIN, SLOPE, clamp};

const LEAKY: Film = Film {
    slope: SLOPE,
    gain: GAIN,
};
/// What keeps demodulation from dividing by 0.
const DEMODULATION_EPS: f64 = 1e-8;
/// The smallest factor of a channel: the gradient of a style is found by dividing by it.
const LEAST_FACTOR: f64 = 1e-12;

/// A layer.
pub(super) struct FilteredConv {
    /// From w to the style, [1, w] to [1, inputs].
    pub style: Linear,
    /// [outputs, inputs, k, k], with what is constant in the factors of its inputs.
    pub kernels: Tensor,
    /// Sums of the squares of each kernel without these factors, [outputs, inputs]. With them the style is scaled to a mean square of 1, and the
    /// output channels to a variance of 1; colours have none.
    pub squares: Option<Tensor>,
    /// [outputs]
    pub bias: Tensor,
    /// To the resolution of the activation and back. Colours have no activation.
    pub activation: Option<[Upfirdn2d; 2]>,
    /// The largest size of the activation's values.
    pub limit: Option<f64>,
}

/// The way back through a [`FilteredConv`].
pub(super) struct FilteredPullback {
    style: Pullback,
    factors: Factors,
    conv: Pullback,
    /// The features before and after the convolution.
    x: Tensor,
    y: Tensor,
    bias: Tensor,
    /// Up, through the activation, and down.
    activation: Option<(Pullback, FilmTape, Pullback)>,
    clamped: Clamped,
}

/// What input and output channels are multiplied by.
struct Factors {
    /// [1, inputs]
    s: Tensor,
    /// [1, outputs], the root mean square of the style, and the squares, where it is demodulated.
    demodulation: Option<(Tensor, Tensor, Tensor)>,
}

impl Factors {
    fn new(style: &Tensor, squares: Option<&Tensor>) -> Result<Self> {
        let (mut s, mut demodulation) = (style.clone(), None);
        if let Some(squares) = squares {
            let size = style.sqr()?.mean_keepdim(1)?.sqrt()?;
            s = style.broadcast_div(&size)?;
            let norms = (s.sqr()?.matmul(&squares.t()?)? + DEMODULATION_EPS)?;
            demodulation = Some((norms.sqrt()?.recip()?, size, squares.clone()));
        }
        let least = s.affine(0.0, LEAST_FACTOR)?;
        let s = s.abs()?.lt(&least)?.where_cond(&least, &s)?;
        Ok(Self { s, demodulation })
    }

    /// Kernels with these factors.
    fn scale(&self, kernels: &Tensor) -> Result<Tensor> {
        let (outputs, inputs, h, w) = kernels.dims4()?;
        // as a matrix, so that what is repeated is a row or a column: the quick kinds of broadcasting
        let row = self.s.reshape((inputs, 1))?.broadcast_as((inputs, h * w))?;
        let row = row.contiguous()?.reshape((1, ()))?;
        let mut scaled = kernels
            .reshape((outputs, inputs * h * w))?
            .broadcast_mul(&row)?;
        if let Some((d, ..)) = &self.demodulation {
            scaled = scaled.broadcast_mul(&d.reshape((outputs, 1))?)?;
        }
        scaled.reshape(kernels.shape())
    }

    /// The gradient of the style, of the gradients of the factors as they were used.
    fn pull(&self, s: Tensor, d: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let Some((factor, size, squares)) = &self.demodulation else {
            return Ok(s);
        };
        // d = (squares s^2 + eps)^(-1/2)
        let inner = ((d(factor)? * factor.powf(3.0)?)?.neg()?).matmul(squares)?;
        let s = (s + (inner * &self.s)?)?;
        // and s is the style, scaled
        let along = (&s * &self.s)?.mean_keepdim(1)?;
        (s - self.s.broadcast_mul(&along)?)?.broadcast_div(size)
    }
}

impl FilteredConv {
    /// The value at features [1, c, h, w] and a row of w.
    pub fn vjp(&self, x: &Tensor, w: &Tensor) -> Result<(Tensor, FilteredPullback)> {
        let (s, style) = self.style.vjp(w)?;
        let factors = Factors::new(&s, self.squares.as_ref())?;
        let options = Conv2dOptions {
            // nothing that a kernel reaches is lost; what is too much is cut by the filters
            padding: self.kernels.dim(2)? - 1,
            ..Conv2dOptions::default()
        };
        let kernels = factors.scale(&self.kernels)?;
        let conv = Conv2d::new(kernels, Some(self.bias.clone()), options)?;
        let (y, conv) = conv.vjp(x)?;
        let (value, activation, clamped) = match &self.activation {
            None => {
                let (value, clamped) = clamp(y.clone(), self.limit)?;
                (value, None, clamped)
            }
            Some([up, down]) => {
                let (enlarged, up) = up.vjp(&y)?;
                let ones = Tensor::ones((1, self.bias.elem_count()), y.dtype(), y.device())?;
                let (value, leaky) = LEAKY.vjp(&enlarged, &ones, None, None)?;
                let (value, clamped) = clamp(value, self.limit)?;
                let (value, down) = down.vjp(&value)?;
                (value, Some((up, leaky, down)), clamped)
            }
        };
        let pullback = FilteredPullback {
            style,
            factors,
            conv,
            x: x.clone(),
            y,
            bias: self.bias.clone(),
            activation,
            clamped,
        };
        Ok((value, pullback))
    }
}

impl FilteredPullback {
    /// The gradients of features and w.
    pub fn pull(&self, grad: &Tensor) -> Result<(Tensor, Tensor)> {
        let grad = match &self.activation {
            Some((up, leaky, down)) => {
                let grad = self.clamped.pull(&down(grad)?)?;
                up(&leaky.pull(&grad)?.x)?
            }
            None => self.clamped.pull(grad)?,
        };
        let x = (self.conv)(&grad)?;
        // the gradient of scaled features times the features: the former is that of the features, less the scale
        let s = channel_products(&self.x, &x)?.reshape(self.factors.s.shape())?;
        let s = (s / &self.factors.s)?;
        // likewise behind the convolution, where the bias is not scaled
        let d = |factor: &Tensor| {
            let products = channel_products(&self.y, &grad)?.reshape(factor.shape())?;
            let of_bias = (grad.sum((2, 3))? * self.bias.unsqueeze(0)?)?;
            (products - of_bias)? / factor
        };
        let style = self.factors.pull(s, d)?;
        Ok((x, (self.style)(&style)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gan::testing::{slopes_agree, wave};
    use frozen::kernel;

    fn filtered_is_right(kernel: usize, is_colors: bool) -> Result<()> {
        let kernels = wave(0.1, &[4, 3, kernel, kernel])?;
        let taps: Vec<Vec<f64>> = (0..6)
            .map(|y| {
                (0..6)
                    .map(|x| (f64::from(x) - 2.2) * 0.1 + f64::from(y) * 0.07)
                    .collect()
            })
            .collect();
        let activation = [
            Upfirdn2d::new(&taps, 2, 1, [[4, 3]; 2])?,
            Upfirdn2d::new(&taps, 1, 2, [[0, 0]; 2])?,
        ];
        let layer = FilteredConv {
            style: Linear::new(wave(0.2, &[3, 5])?, Some(wave(0.3, &[3])?))?,
            squares: Some(kernels.sqr()?.sum((2, 3))?).filter(|_| !is_colors),
            kernels: (kernels * 0.7)?,
            bias: wave(0.5, &[4])?,
            activation: Some(activation).filter(|_| !is_colors),
            limit: Some(1.3),
        };
        slopes_agree(
            &[wave(1.0, &[1, 3, 4, 3])?, wave(2.0, &[1, 5])?],
            |x| Ok(layer.vjp(&x[0], &x[1])?.0),
            |x, g| {
                let (x, w) = layer.vjp(&x[0], &x[1])?.1.pull(g)?;
                Ok(vec![x, w])
            },
        )
    }

    #[test]
    fn filtered_convolutions_match_finite_differences() -> Result<()> {
        for (kernel, is_colors) in [(3, false), (1, false), (1, true)] {
            filtered_is_right(kernel, is_colors)?;
            kernel::composed(|| filtered_is_right(kernel, is_colors))?;
        }
        Ok(())
    }
}
