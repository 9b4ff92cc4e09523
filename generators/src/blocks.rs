//! Pictures of square blocks: pixel art.
//!
//! What is judged is the picture in blocks, as pytti's and pixray's pixel drawers do: the small picture is painted, and enlarged to the nearest
//! pixel. Networks paint no picture so small as they are; of theirs the blocks are averaged.

use candle_core::{Result, Tensor, bail};
use frozen::{Layer, Pullback};

use crate::Generator;
use crate::through::Through;

/// The picture in blocks of a generator's picture `[1, c, h, w]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// Pixels of a block's side.
    side: usize,
    /// Whether the generator's picture has a pixel for each block.
    is_small: bool,
}

impl Blocks {
    /// Blocks of `side` pixels, of a picture that has a pixel for each block if it `is_small`, else every pixel of the result.
    pub fn new(side: usize, is_small: bool) -> Self {
        let side = side.max(1);
        Self { side, is_small }
    }

    /// The size of the generator's picture for a result of this size.
    pub fn painted_size(&self, size: [usize; 2]) -> [usize; 2] {
        if self.is_small {
            size.map(|side| side / self.side)
        } else {
            size
        }
    }

    /// The generator's picture for a result, such as the image to start from: the means of its blocks if it is small.
    ///
    /// # Errors
    /// When the result cannot be divided into blocks.
    pub fn painted(&self, image: &Tensor) -> Result<Tensor> {
        if self.is_small {
            self.means(image)
        } else {
            Ok(image.clone())
        }
    }

    /// The generator's pictures, in blocks.
    pub fn apply(self, generator: Box<dyn Generator>) -> Box<dyn Generator> {
        Box::new(Through::new(generator, self))
    }

    /// The mean of each block, a pixel each.
    fn means(&self, image: &Tensor) -> Result<Tensor> {
        let (n, c, h, w) = image.dims4()?;
        let side = self.side;
        if !h.is_multiple_of(side) || !w.is_multiple_of(side) {
            bail!(
                "a picture of {w} x {h} has no whole blocks of {side} pixels: give a `size` that is a multiple of {side}, and that the \
                 generator need not round"
            );
        }
        let blocks = (n * c, h / side, side, w / side, side);
        let sums = image.contiguous()?.reshape(blocks)?.sum((2, 4))?;
        (sums / (side * side) as f64)?.reshape((n, c, h / side, w / side))
    }

    /// Each pixel as a block.
    fn enlarged(&self, small: &Tensor) -> Result<Tensor> {
        let (n, c, h, w) = small.dims4()?;
        let side = self.side;
        let blocks = small.contiguous()?.reshape((n * c, h, 1, w, 1))?;
        let blocks = blocks.broadcast_as((n * c, h, side, w, side))?;
        blocks.contiguous()?.reshape((n, c, h * side, w * side))
    }
}

impl Layer for Blocks {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        if self.is_small {
            self.enlarged(x)
        } else {
            self.enlarged(&self.means(x)?)
        }
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let y = self.eval(&x.detach())?;
        let (blocks, shape) = (*self, y.shape().clone());
        let pullback = move |grad: &Tensor| {
            if grad.shape() != &shape {
                bail!(
                    "the gradient has shape {:?}, and the picture {shape:?}",
                    grad.shape()
                );
            }
            let means = blocks.means(&grad.detach())?;
            if blocks.is_small {
                // the sum over the block, which shows one pixel everywhere
                means * (blocks.side * blocks.side) as f64
            } else {
                // the mean over blocks is a projection, which is its own transpose
                blocks.enlarged(&means)
            }
        };
        Ok((y, Box::new(pullback)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn wave(h: usize, w: usize) -> Result<Tensor> {
        let values = (0..3 * h * w).map(|i| (1.3 * i as f64).sin() + (0.7 * (i * i) as f64).cos());
        Tensor::from_iter(values, &Device::Cpu)?.reshape((1, 3, h, w))
    }

    fn numbers(x: &Tensor) -> Result<Vec<f64>> {
        x.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
    }

    #[test]
    fn the_gradient_matches_finite_differences() -> Result<()> {
        for is_small in [true, false] {
            let blocks = Blocks::new(3, is_small);
            let [width, height] = blocks.painted_size([9, 6]);
            let (x, g) = (wave(height, width)?, wave(6, 9)?.sin()?);
            let (y, pullback) = blocks.vjp(&x)?;
            assert_eq!(y.dims(), [1, 3, 6, 9]);
            let (found, values) = (numbers(&pullback(&g)?)?, numbers(&x)?);
            for i in 0..values.len() {
                let loss = |h: f64| -> Result<f64> {
                    let mut moved = values.clone();
                    moved[i] += h;
                    let moved = Tensor::from_vec(moved, x.shape(), &Device::Cpu)?;
                    (blocks.eval(&moved)? * &g)?.sum_all()?.to_scalar()
                };
                let slope = (loss(1e-5)? - loss(-1e-5)?) / 2e-5;
                assert!((slope - found[i]).abs() < 1e-8, "{is_small} {i}: {slope}");
            }
        }
        Ok(())
    }

    #[test]
    fn blocks_are_even_and_stay_as_they_are() -> Result<()> {
        let seen = Blocks::new(4, false).eval(&wave(8, 12)?)?;
        let rows = seen.get(0)?.get(1)?.to_vec2::<f64>()?;
        for (y, row) in rows.iter().enumerate() {
            for (x, value) in row.iter().enumerate() {
                assert_eq!(*value, rows[y / 4 * 4][x / 4 * 4], "{x} {y}");
            }
        }
        assert_ne!(rows[0][0], rows[0][4]);
        // a picture in blocks is painted as itself, such as that of the stage before
        let small = Blocks::new(4, true);
        let again = small.eval(&small.painted(&seen)?)?;
        let off = (again - seen)?.abs()?.max_all()?.to_scalar::<f64>()?;
        assert!(off < 1e-12);
        Ok(())
    }

    #[test]
    fn parts_of_blocks_are_refused() -> Result<()> {
        let error = Blocks::new(4, false).eval(&wave(8, 10)?);
        assert!(error.is_err_and(|error| error.to_string().contains("no whole blocks of 4")));
        Ok(())
    }
}
