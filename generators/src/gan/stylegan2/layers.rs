//! Layers that a style modulates.

use candle_core::{Result, Tensor};
use frozen::{
    Conv2d, Conv2dOptions, ConvTranspose2d, Film, FilmTape, Layer, Linear, Pullback, Upfirdn2d,
    channel_products,
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

/// Kernels whose input channels a style scales.
pub(super) enum Kernels {
    /// [outputs, inputs, 3, 3], keeping the sides.
    Plain(Tensor),
    /// [inputs, outputs, 3, 3] of a transposed convolution that doubles the sides, and the blur behind it.
    Enlarging(Tensor, Upfirdn2d),
    /// [3, inputs, 1, 1], and a bias.
    Colors(Tensor, Tensor),
}

/// The way back through a convolution by scaled kernels.
struct ModulatedPullback {
    conv: Pullback,
    x: Tensor,
    s: Tensor,
}

impl Kernels {
    /// The convolution of features [1, c, h, w] by kernels that are scaled by a style [1, c]: the kernels are smaller than most features.
    fn vjp(&self, x: &Tensor, s: &Tensor) -> Result<(Tensor, ModulatedPullback)> {
        let least = s.affine(0.0, LEAST_FACTOR)?;
        let s = s.abs()?.lt(&least)?.where_cond(&least, s)?;
        // as a matrix, so that what is repeated is a row or a column: the quick kinds of broadcasting
        let by_rows = |kernels: &Tensor| -> Result<Tensor> {
            let (outputs, inputs, h, w) = kernels.dims4()?;
            let factors = s.reshape((inputs, 1))?.broadcast_as((inputs, h * w))?;
            let factors = factors.contiguous()?.reshape((1, ()))?;
            let kernels_of_rows = kernels.reshape((outputs, inputs * h * w))?;
            (kernels_of_rows.broadcast_mul(&factors)?).reshape(kernels.shape())
        };
        let (y, conv) = match self {
            Self::Plain(kernels) => {
                let options = Conv2dOptions {
                    padding: 1,
                    ..Conv2dOptions::default()
                };
                Conv2d::new(by_rows(kernels)?, None, options)?.vjp(x)?
            }
            Self::Enlarging(kernels, blur) => {
                let factors = s.reshape(((), 1, 1, 1))?;
                let conv = ConvTranspose2d::new(kernels.broadcast_mul(&factors)?, 2)?;
                let (y, conv) = conv.vjp(x)?;
                let (y, blur) = blur.vjp(&y)?;
                let back: Pullback = Box::new(move |grad| conv(&blur(grad)?));
                (y, back)
            }
            Self::Colors(kernels, bias) => Conv2d::new(
                by_rows(kernels)?,
                Some(bias.clone()),
                Conv2dOptions::default(),
            )?
            .vjp(x)?,
        };
        let x = x.clone();
        Ok((y, ModulatedPullback { conv, x, s }))
    }
}

impl ModulatedPullback {
    /// The gradients of features and style.
    fn pull(&self, grad: &Tensor) -> Result<(Tensor, Tensor)> {
        let x = (self.conv)(grad)?;
        // the gradient of the scaled features times the features: the former is that of the features, less the scale
        let s = channel_products(&self.x, &x)?.reshape(self.s.shape())?;
        Ok((x, (s / &self.s)?))
    }
}

/// A convolution whose input channels are scaled by a style, whose output channels are scaled back to a variance of 1, and which adds noise before its
/// activation.
pub(super) struct StyledConv {
    /// From w to the style, [1, w] to [1, inputs].
    pub style: Linear,
    pub kernels: Kernels,
    /// The sums of the squares of each kernel, [outputs, inputs].
    pub squares: Tensor,
    /// Factor of the noise, of one element.
    pub strength: Tensor,
    /// [1, outputs]
    pub bias: Tensor,
    /// The largest size of its values.
    pub limit: Option<f64>,
}

/// The way back through a [`StyledConv`].
pub(super) struct StyledPullback {
    style: Pullback,
    modulated: ModulatedPullback,
    activation: FilmTape,
    clamped: Clamped,
    squares: Tensor,
    strength: Tensor,
    /// The style, and the factors of the output channels.
    s: Tensor,
    d: Tensor,
}

/// Gradients of what a [`StyledConv`] takes.
pub(super) struct StyledGradients {
    pub x: Tensor,
    pub w: Tensor,
    pub plane: Option<Tensor>,
}

impl StyledConv {
    /// The value at features [1, c, h, w], a row of w and a plane of noise [1, 1, h', w'] of the result's size.
    pub fn vjp(&self, x: &Tensor, w: &Tensor, plane: &Tensor) -> Result<(Tensor, StyledPullback)> {
        let (s, style) = self.style.vjp(w)?;
        // 1 / the norm of each modulated kernel
        let norms = (s.sqr()?.matmul(&self.squares.t()?)? + DEMODULATION_EPS)?;
        let d = norms.sqrt()?.recip()?;
        let (y, modulated) = self.kernels.vjp(x, &s)?;
        let noise = plane.broadcast_mul(&self.strength)?;
        let (y, activation) = LEAKY.vjp(&y, &d, Some(&self.bias), Some(&noise))?;
        let (y, clamped) = clamp(y, self.limit)?;
        let pullback = StyledPullback {
            style,
            modulated,
            activation,
            clamped,
            squares: self.squares.clone(),
            strength: self.strength.clone(),
            s,
            d,
        };
        Ok((y, pullback))
    }
}

impl StyledPullback {
    pub fn pull(&self, grad: &Tensor, with_plane: bool) -> Result<StyledGradients> {
        let grad = &self.clamped.pull(grad)?;
        let plane = if with_plane {
            let plane = self.activation.pull_plane(grad)?;
            Some(plane.broadcast_mul(&self.strength)?)
        } else {
            None
        };
        let after = self.activation.pull(grad)?;
        let (x, s) = self.modulated.pull(&after.x)?;
        // d = (squares s^2 + eps)^(-1/2)
        let inner = ((after.scale * self.d.powf(3.0)?)?.neg()?).matmul(&self.squares)?;
        let s = (s + (inner * &self.s)?)?;
        Ok(StyledGradients {
            x,
            w: (self.style)(&s)?,
            plane,
        })
    }
}

/// Colours of features: a 1 x 1 convolution whose input channels are scaled by a style.
pub(super) struct ToRgb {
    pub style: Linear,
    pub kernels: Kernels,
    /// The largest size of its values.
    pub limit: Option<f64>,
}

/// The way back through a [`ToRgb`].
pub(super) struct ColorPullback {
    style: Pullback,
    modulated: ModulatedPullback,
    clamped: Clamped,
}

impl ToRgb {
    pub fn vjp(&self, x: &Tensor, w: &Tensor) -> Result<(Tensor, ColorPullback)> {
        let (s, style) = self.style.vjp(w)?;
        let (y, modulated) = self.kernels.vjp(x, &s)?;
        let (y, clamped) = clamp(y, self.limit)?;
        let pullback = ColorPullback {
            style,
            modulated,
            clamped,
        };
        Ok((y, pullback))
    }
}

impl ColorPullback {
    /// The gradients of features and w.
    pub fn pull(&self, grad: &Tensor) -> Result<(Tensor, Tensor)> {
        let (x, s) = self.modulated.pull(&self.clamped.pull(grad)?)?;
        Ok((x, (self.style)(&s)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gan::testing::{slopes_agree, wave};
    use frozen::kernel;

    fn styled(enlarges: bool, limit: Option<f64>) -> Result<StyledConv> {
        let weight = wave(0.1, &[4, 3, 3, 3])?;
        let squares = weight.sqr()?.sum((2, 3))?;
        let kernels = if enlarges {
            let taps: Vec<Vec<f64>> = [1.0, 3.0, 3.0, 1.0]
                .map(|y| [1.0, 3.0, 3.0, 1.0].map(|x| x * y / 16.0).to_vec())
                .to_vec();
            let blur = Upfirdn2d::new(&taps, 1, 1, [[1, 1]; 2])?;
            Kernels::Enlarging(weight.transpose(0, 1)?.contiguous()?, blur)
        } else {
            Kernels::Plain(weight)
        };
        Ok(StyledConv {
            style: Linear::new(wave(0.2, &[3, 5])?, Some(wave(0.3, &[3])?))?,
            kernels,
            squares,
            strength: wave(0.4, &[1])?,
            bias: wave(0.5, &[1, 4])?,
            limit,
        })
    }

    fn styled_is_right(enlarges: bool) -> Result<()> {
        let limit = Some(0.7).filter(|_| enlarges);
        let layer = styled(enlarges, limit)?;
        let sides = if enlarges { [8, 6] } else { [4, 3] };
        let inputs = [
            wave(1.0, &[1, 3, 4, 3])?,
            wave(2.0, &[1, 5])?,
            wave(3.0, &[1, 1, sides[0], sides[1]])?,
        ];
        slopes_agree(
            &inputs,
            |x| Ok(layer.vjp(&x[0], &x[1], &x[2])?.0),
            |x, g| {
                let (_, back) = layer.vjp(&x[0], &x[1], &x[2])?;
                let StyledGradients { x, w, plane } = back.pull(g, true)?;
                Ok([Some(x), Some(w), plane].into_iter().flatten().collect())
            },
        )
    }

    #[test]
    fn modulated_convolutions_match_finite_differences() -> Result<()> {
        for enlarges in [false, true] {
            styled_is_right(enlarges)?;
            kernel::composed(|| styled_is_right(enlarges))?;
        }
        Ok(())
    }

    #[test]
    fn colours_match_finite_differences() -> Result<()> {
        let weight = wave(0.1, &[3, 4, 1, 1])?;
        let layer = ToRgb {
            style: Linear::new(wave(0.2, &[4, 5])?, Some(wave(0.3, &[4])?))?,
            kernels: Kernels::Colors(weight, wave(0.6, &[3])?),
            limit: Some(1.1),
        };
        slopes_agree(
            &[wave(1.0, &[1, 4, 2, 3])?, wave(2.0, &[1, 5])?],
            |x| Ok(layer.vjp(&x[0], &x[1])?.0),
            |x, g| {
                let (x, w) = layer.vjp(&x[0], &x[1])?.1.pull(g)?;
                Ok(vec![x, w])
            },
        )
    }
}
