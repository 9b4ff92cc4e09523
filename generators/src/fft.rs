//! A picture as its spectrum: each frequency is a parameter, scaled so that a step changes low ones most.
//!
//! The parametrisation of aphantasia (eps696) and of Lucid before it (Mordvintsev, Pezzotti, Schubert and Olah, *Differentiable Image
//! Parameterizations*, Distill 2018). The transform is two products with matrices of cosines and sines, which any device does; its
//! gradient is the transposed products.

use candle_core::{DType, Device, Result, Tensor, Var, bail};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::pyramid::normals;
use crate::{Generator, LearningRate, Optimizer, OptimizerKind, Progress, State, share_done};

/// The square root of the covariance of colours in natural images (Lucid): rows are red, green and blue, columns lightness, blue against
/// red, green against magenta.
const COLORS: [[f64; 3]; 3] = [[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]];
/// Standard deviation of the spectrum at the start, before it is scaled.
const NOISE: f32 = 0.01;

/// All that decides how a [`Fft`] paints.
#[derive(Clone, Debug)]
pub struct FftConfig {
    /// Width of the picture in pixels.
    pub width: usize,
    /// Height of the picture in pixels.
    pub height: usize,
    /// A frequency's scale falls with this power of it.
    pub decay: f64,
    /// The standard deviation to which the picture is brought before colours and squashing.
    pub contrast: f64,
    /// How colourful it is: the first of the decorrelated channels, lightness, is divided by it.
    pub colors: f64,
    /// The learning rate of Adam.
    pub lr: LearningRate,
    /// How many steps the render has.
    pub steps: usize,
    /// Decides the spectrum at the start.
    pub seed: u64,
}

/// The inverse transform of real pictures: matrices of cosines and sines.
struct Transform {
    /// `[height, height]`
    rows: [Tensor; 2],
    /// `[frequencies, width]`, frequencies = width / 2 + 1
    columns: [Tensor; 2],
}

impl Transform {
    fn new(width: usize, height: usize, device: &Device) -> Result<Self> {
        let frequencies = width / 2 + 1;
        let waves = |rows: usize, columns: usize, period: usize, weight: &dyn Fn(usize) -> f64| {
            let table = |wave: fn(f64) -> f64| {
                let mut values = Vec::with_capacity(rows * columns);
                for row in 0..rows {
                    for column in 0..columns {
                        let turn = ((row * column) % period) as f64 / period as f64;
                        values.push((weight(row) * wave(std::f64::consts::TAU * turn)) as f32);
                    }
                }
                Tensor::from_vec(values, (rows, columns), device)
            };
            Ok::<_, candle_core::Error>([table(f64::cos)?, table(f64::sin)?])
        };
        let [h, w] = [height as f64, width as f64];
        // what is not its own mirror image stands for two
        let twice = |k: usize| match k == 0 || 2 * k == width {
            true => 1.0 / w.sqrt(),
            false => 2.0 / w.sqrt(),
        };
        Ok(Self {
            rows: waves(height, height, height, &|_| 1.0 / h.sqrt())?,
            columns: waves(frequencies, width, width, &twice)?,
        })
    }

    /// `[3, height, frequencies]`, real and imaginary parts, to `[3, height, width]`.
    fn inverse(&self, [real, imaginary]: [&Tensor; 2]) -> Result<Tensor> {
        let [cos, sin] = &self.rows;
        let a = (cos.broadcast_matmul(real)? - sin.broadcast_matmul(imaginary)?)?;
        let b = (cos.broadcast_matmul(imaginary)? + sin.broadcast_matmul(real)?)?;
        let [cos, sin] = &self.columns;
        a.broadcast_matmul(cos)? - b.broadcast_matmul(sin)?
    }

    /// The spectrum of `[3, height, width]`, such that the inverse gives it back.
    fn forward(&self, x: &Tensor, width: usize) -> Result<[Tensor; 2]> {
        let (_, _, frequencies) = (0, 0, width / 2 + 1);
        // the columns' weights taken off again
        let weights: Vec<f32> = (0..frequencies)
            .map(|k| if k == 0 || 2 * k == width { 1.0 } else { 0.5 })
            .collect();
        let weights = Tensor::from_vec(weights, (1, 1, frequencies), x.device())?;
        let [cos, sin] = &self.columns;
        let a = x.broadcast_matmul(&cos.t()?)?.broadcast_mul(&weights)?;
        let b = x
            .broadcast_matmul(&sin.t()?)?
            .broadcast_mul(&weights)?
            .neg()?;
        let [cos, sin] = &self.rows;
        let real = (cos.broadcast_matmul(&a)? + sin.broadcast_matmul(&b)?)?;
        let imaginary = (cos.broadcast_matmul(&b)? - sin.broadcast_matmul(&a)?)?;
        Ok([real, imaginary])
    }
}

/// A picture as its spectrum, as a [`Generator`].
pub struct Fft {
    config: FftConfig,
    transform: Transform,
    /// `[1, height, frequencies]`
    scale: Tensor,
    /// `[3, 3]`: decorrelated channels to red, green and blue.
    colors: Tensor,
    optimizer: Optimizer,
}

impl Fft {
    /// A spectrum of noise, or that of `init`, an image `[1, 3, height, width]` in 0..=1; its contrast then takes the place of the setting.
    ///
    /// # Errors
    /// When the picture has no pixels, or `init` has another shape.
    pub fn new(mut config: FftConfig, init: Option<&Tensor>, device: &Device) -> Result<Self> {
        let (width, height) = (config.width, config.height);
        if width * height < 2 {
            bail!("a picture of {width} x {height} has no frequencies");
        }
        let frequencies = width / 2 + 1;
        let transform = Transform::new(width, height, device)?;
        let least = 4.0 / width.max(height) as f64;
        let mut scale = Vec::with_capacity(height * frequencies);
        for row in 0..height {
            let fy = row.min(height - row) as f64 / height as f64;
            for column in 0..frequencies {
                let fx = column as f64 / width as f64;
                let size = ((width * height) as f64).sqrt();
                scale.push((size / fx.hypot(fy).max(least).powf(config.decay)) as f32);
            }
        }
        let scale = Tensor::from_vec(scale, (1, height, frequencies), device)?;
        let colors = color_matrix(config.colors);
        let shape = (3, height, frequencies);
        let spectrum = match init {
            None => {
                let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
                let mut draw = || normals(&mut rng, 3 * height * frequencies, f64::from(NOISE));
                [
                    Var::from_vec(draw(), shape, device)?,
                    Var::from_vec(draw(), shape, device)?,
                ]
            }
            Some(init) => {
                let expected = [1, 3, height, width];
                if init.dims() != expected {
                    bail!(
                        "the init image has shape {:?}, and {expected:?} is expected",
                        init.dims()
                    );
                }
                let x = init.detach().to_dtype(DType::F32)?.clamp(0.01, 0.99)?;
                let logit =
                    (x.log()? - x.affine(-1.0, 1.0)?.log()?)?.reshape((3, height * width))?;
                let back = tensor(inverse(colors), device)?;
                let x = back.matmul(&logit)?.reshape((3, height, width))?;
                config.contrast = deviation(&x)?.to_scalar::<f32>()?.max(1e-3).into();
                let [real, imaginary] = transform.forward(&x, width)?;
                [real, imaginary]
                    .map(|part| Var::from_tensor(&part.broadcast_div(&scale)?))
                    .into_iter()
                    .collect::<Result<Vec<_>>>()?
                    .try_into()
                    .map_err(|_| candle_core::Error::Msg("a spectrum has two parts".to_owned()))?
            }
        };
        let adam = OptimizerKind::Adam { weight_decay: 0.0 };
        Ok(Self {
            colors: tensor(colors, device)?,
            transform,
            scale,
            optimizer: Optimizer::new(adam, spectrum.to_vec())?,
            config,
        })
    }

    fn share_done(&self) -> f64 {
        share_done(self.optimizer.steps(), self.config.steps)
    }
}

/// The standard deviation of all elements, a scalar.
fn deviation(x: &Tensor) -> Result<Tensor> {
    let off = x.broadcast_sub(&x.mean_all()?)?;
    (off.sqr()?.mean_all()? + 1e-12)?.sqrt()
}

/// Decorrelated channels to colours, the longest column of unit length.
fn color_matrix(colors: f64) -> [[f64; 3]; 3] {
    let mut matrix = COLORS;
    for row in &mut matrix {
        row[0] /= colors;
    }
    let length = |column: usize| {
        matrix
            .iter()
            .map(|row| row[column] * row[column])
            .sum::<f64>()
    };
    let longest = (0..3).map(length).fold(0.0, f64::max).sqrt();
    matrix.map(|row| row.map(|value| value / longest))
}

/// The inverse by cofactors.
fn inverse(m: [[f64; 3]; 3]) -> [[f64; 3]; 3] {
    let cofactor = |i: usize, j: usize| {
        let [a, b] = [(i + 1) % 3, (i + 2) % 3];
        let [c, d] = [(j + 1) % 3, (j + 2) % 3];
        m[a][c] * m[b][d] - m[a][d] * m[b][c]
    };
    let determinant: f64 = (0..3).map(|j| m[0][j] * cofactor(0, j)).sum();
    std::array::from_fn(|i| std::array::from_fn(|j| cofactor(j, i) / determinant))
}

fn tensor(matrix: [[f64; 3]; 3], device: &Device) -> Result<Tensor> {
    Tensor::new(&matrix.map(|row| row.map(|value| value as f32)), device)
}

impl Generator for Fft {
    fn render(&mut self) -> Result<Tensor> {
        let [real, imaginary] = self.optimizer.parameters() else {
            bail!("a spectrum has two parts");
        };
        let real = real.as_tensor().broadcast_mul(&self.scale)?;
        let imaginary = imaginary.as_tensor().broadcast_mul(&self.scale)?;
        let x = self.transform.inverse([&real, &imaginary])?;
        let x = (x.broadcast_div(&deviation(&x)?)? * self.config.contrast)?;
        let (width, height) = (self.config.width, self.config.height);
        let x = self.colors.matmul(&x.reshape((3, height * width))?)?;
        // a sigmoid in terms of tanh does not overflow
        (x * 0.5)?
            .tanh()?
            .affine(0.5, 0.5)?
            .reshape((1, 3, height, width))
    }

    fn step(&mut self, image: Tensor, grad: &Tensor) -> Result<Progress> {
        if self.optimizer.steps() >= self.config.steps {
            return Ok(Progress::Finished);
        }
        let grads = (image * grad.detach())?.sum_all()?.backward()?;
        let grads = (self.optimizer.parameters().iter())
            .map(|parameter| match grads.get(parameter) {
                Some(grad) => Ok(grad.clone()),
                None => bail!("a step needs the image of the last render"),
            })
            .collect::<Result<Vec<_>>>()?;
        let lr = self.config.lr.at(self.share_done());
        self.optimizer.step(&grads, lr)?;
        Ok(Progress::after(self.optimizer.steps(), self.config.steps))
    }

    fn save(&self) -> Result<State> {
        let mut state = State::default();
        self.optimizer.save(&mut state)?;
        (state.scalars).insert("contrast".to_owned(), self.config.contrast);
        Ok(state)
    }

    fn load(&mut self, state: &State) -> Result<()> {
        let contrast = state.scalar("contrast")?;
        self.optimizer.load(state)?;
        self.config.contrast = contrast;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(width: usize, height: usize) -> FftConfig {
        FftConfig {
            width,
            height,
            decay: 1.5,
            contrast: 1.0,
            colors: 1.5,
            lr: LearningRate::from(0.05),
            steps: 20,
            seed: 3,
        }
    }

    fn fft(width: usize, height: usize) -> Fft {
        Fft::new(config(width, height), None, &Device::Cpu).expect("a spectrum")
    }

    fn wave(shape: (usize, usize, usize, usize)) -> Tensor {
        let count = shape.0 * shape.1 * shape.2 * shape.3;
        let values: Vec<f32> = (0..count).map(|i| (1.3 * i as f32).sin()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).expect("a tensor")
    }

    fn values(x: &Tensor) -> Vec<f32> {
        x.flatten_all().and_then(|x| x.to_vec1()).expect("numbers")
    }

    #[test]
    fn the_transform_is_the_inverse_fourier_transform() {
        for (width, height) in [(6, 5), (7, 4)] {
            let fft = fft(width, height);
            let [real, imaginary] = fft.optimizer.parameters() else {
                panic!("two parts")
            };
            let found = fft
                .transform
                .inverse([real.as_tensor(), imaginary.as_tensor()]);
            let found = values(&found.expect("a picture"));
            let (real, imaginary) = (values(real), values(imaginary));
            let frequencies = width / 2 + 1;
            for y in 0..height {
                for x in 0..width {
                    let mut sum = 0.0;
                    for ky in 0..height {
                        for kx in 0..frequencies {
                            let turn =
                                (ky * y) as f64 / height as f64 + (kx * x) as f64 / width as f64;
                            let (sin, cos) = (std::f64::consts::TAU * turn).sin_cos();
                            let i = ky * frequencies + kx;
                            let part = f64::from(real[i]) * cos - f64::from(imaginary[i]) * sin;
                            sum += if kx == 0 || 2 * kx == width {
                                part
                            } else {
                                2.0 * part
                            };
                        }
                    }
                    let expected = sum / ((width * height) as f64).sqrt();
                    assert!((f64::from(found[y * width + x]) - expected).abs() < 1e-6);
                }
            }
        }
    }

    #[test]
    fn gradients_match_finite_differences() {
        let mut fft = fft(7, 6);
        let upstream = wave((1, 3, 6, 7));
        let image = fft.render().expect("an image");
        let grads = (image * &upstream)
            .and_then(|x| x.sum_all()?.backward())
            .expect("gradients");
        for part in 0..2 {
            let parameter = fft.optimizer.parameters()[part].clone();
            let before = parameter.as_detached_tensor().copy().expect("a copy");
            let found = values(grads.get(&parameter).expect("a gradient"));
            let plain = values(&before);
            for i in (0..plain.len()).step_by(7) {
                let mut at = |h: f32| {
                    let mut moved = plain.clone();
                    moved[i] += h;
                    let moved =
                        Tensor::from_vec(moved, before.shape(), &Device::Cpu).expect("a tensor");
                    parameter.set(&moved).expect("a parameter");
                    let image = fft.render().expect("an image");
                    let sum = (image * &upstream).and_then(|x| x.sum_all()?.to_scalar::<f32>());
                    f64::from(sum.expect("a number"))
                };
                let slope = (at(1e-4) - at(-1e-4)) / 2e-4;
                let scale = 1.0 + slope.abs();
                assert!(
                    (slope - f64::from(found[i])).abs() < 2e-2 * scale,
                    "{part} {i}: {slope} {}",
                    found[i]
                );
            }
            parameter.set(&before).expect("a parameter");
        }
    }

    #[test]
    fn an_init_image_is_the_first_render() {
        for (width, height) in [(8, 6), (7, 5)] {
            let init = wave((1, 3, height, width))
                .affine(0.4, 0.5)
                .expect("an image");
            let mut fft =
                Fft::new(config(width, height), Some(&init), &Device::Cpu).expect("a spectrum");
            let found = values(&fft.render().expect("an image"));
            for (a, b) in found.iter().zip(values(&init)) {
                // the mean counts for nothing in a deviation
                assert!((a - b).abs() < 2e-3, "{a} {b}");
            }
        }
    }

    #[test]
    fn a_saved_spectrum_goes_on_to_the_same_bytes() {
        let upstream = wave((1, 3, 6, 8));
        let run = |fft: &mut Fft| {
            for _ in 0..3 {
                let image = fft.render().expect("an image");
                fft.step(image, &upstream).expect("a step");
            }
        };
        let mut whole = fft(8, 6);
        run(&mut whole);
        let saved = whole.save().expect("a state");
        run(&mut whole);
        let mut resumed = fft(8, 6);
        resumed.load(&saved).expect("a state that fits");
        run(&mut resumed);
        assert_eq!(
            values(&whole.render().expect("an image")),
            values(&resumed.render().expect("an image"))
        );
    }
}
