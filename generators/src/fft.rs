//! A picture as its spectrum: each frequency is a parameter, scaled so that a step changes low ones most.
//!
//! The parametrisation of aphantasia (eps696) and of Lucid before it (Mordvintsev, Pezzotti, Schubert and Olah, *Differentiable Image
//! Parameterizations*, Distill 2018). The transform is two products with matrices of cosines and sines, which any device does; its
//! gradient is the transposed products.

use candle_core::{Device, Result, Tensor, Var, bail};
use phantasia_core::check::Checker;
use phantasia_core::{Schedule, Seamless};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::build::check_learning_rate;
use crate::random::normals;
use crate::starts::Starts;
use crate::{
    Build, BuildContext, Generator, Optimizer, OptimizerConfig, OptimizerKind, Progress, State,
};

phantasia_core::config! {
    /// The picture's spectrum (aphantasia's).
    #[schemars(rename = "FftConfig")]
    pub struct Config {
        /// A frequency's scale falls with this power of it: higher is smoother.
        #[schemars(range(min = 0, max = 8))]
        pub decay: f64 = 1.5,
        /// The contrast of the picture.
        ///
        /// The standard deviation that the picture is scaled to before colours and squashing.
        #[schemars(range(min = 0.01, max = 100))]
        pub contrast: f64 = 1.1,
        /// How colourful it is.
        ///
        /// The first of the decorrelated channels, lightness, is divided by it.
        #[schemars(range(min = 0.01, max = 100))]
        pub colors: f64 = 1.5,
        /// The learning rate of Adam.
        #[schemars(range(min = 0))]
        pub lr: Schedule = 0.05.into(),
        #[expect(missing_docs, reason = "the type's docs say it")]
        pub starts: Starts = Starts::default(),
    }
}

impl Build for Config {
    fn build(&self, context: &mut BuildContext<'_>) -> anyhow::Result<Box<dyn Generator>> {
        let from_picture = context.init.is_some();
        let fft = self.starts.best(from_picture, context, |context| {
            Ok(Fft::new(self, context)?)
        })?;
        Ok(Box::new(fft))
    }

    fn check(&self, checker: &mut Checker) {
        check_learning_rate(checker, "lr", &self.lr);
    }

    fn check_seamless(&self, _: Seamless, _: &mut Checker) {}

    fn template(&self) -> Option<&'static str> {
        Some(include_str!("../recipes/fft.yaml"))
    }
}

/// The square root of the covariance of colours in natural images (Lucid): rows are red, green and blue, columns lightness, blue against
/// red, green against magenta.
const COLORS: [[f64; 3]; 3] = [[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]];
/// Standard deviation of the spectrum at the start, before it is scaled.
const NOISE: f64 = 0.01;

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
        // half of the frequencies are left out, being the mirror images of others, which count twice
        let twice = |k: usize| if is_own_mirror(k, width) { 1.0 } else { 2.0 } / w.sqrt();
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

    /// The spectrum of a picture `[3, height, width]`, which [`Transform::inverse`] inverts.
    fn forward(&self, x: &Tensor, width: usize) -> Result<[Tensor; 2]> {
        let frequencies = width / 2 + 1;
        // undoes the weights of the columns
        let weights: Vec<f32> = (0..frequencies)
            .map(|k| if is_own_mirror(k, width) { 1.0 } else { 0.5 })
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

/// Whether a frequency of `width` pixels is its own mirror image.
fn is_own_mirror(frequency: usize, width: usize) -> bool {
    frequency == 0 || 2 * frequency == width
}

/// A picture as its spectrum, as a [`Generator`].
pub struct Fft {
    size: [usize; 2],
    contrast: f64,
    transform: Transform,
    /// `[1, height, frequencies]`
    scale: Tensor,
    /// `[3, 3]`: decorrelated channels to red, green and blue.
    colors: Tensor,
    optimizer: Optimizer,
}

impl Fft {
    /// A spectrum of noise, or that of the image to start from, whose contrast then takes the place of the setting.
    ///
    /// # Errors
    /// When the picture has fewer than two pixels.
    pub fn new(config: &Config, context: &BuildContext<'_>) -> Result<Self> {
        let (width, height) = context.sides()?;
        if width * height < 2 {
            bail!("a picture of {width} x {height} has no frequencies");
        }
        let device = context.device;
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
        let mut contrast = config.contrast;
        let spectrum = match context.init()? {
            None => {
                let shape = (3, height, frequencies);
                let mut rng = ChaCha8Rng::seed_from_u64(context.seed);
                let mut draw = || {
                    let values = normals(&mut rng, 3 * height * frequencies, NOISE);
                    Tensor::from_vec(values, shape, device)
                };
                [draw()?, draw()?]
            }
            Some(init) => {
                let x = init.clamp(0.01, 0.99)?;
                let logit =
                    (x.log()? - x.affine(-1.0, 1.0)?.log()?)?.reshape((3, height * width))?;
                let back = tensor(inverse(colors), device)?;
                let x = back.matmul(&logit)?.reshape((3, height, width))?;
                contrast = deviation(&x)?.to_scalar::<f32>()?.max(1e-3).into();
                let [real, imaginary] = transform.forward(&x, width)?;
                [
                    real.broadcast_div(&scale)?,
                    imaginary.broadcast_div(&scale)?,
                ]
            }
        };
        let [real, imaginary] = &spectrum;
        let parameters = vec![Var::from_tensor(real)?, Var::from_tensor(imaginary)?];
        let optimizer = OptimizerConfig::new(OptimizerKind::Adam);
        Ok(Self {
            size: [width, height],
            contrast,
            transform,
            scale,
            colors: tensor(colors, device)?,
            optimizer: Optimizer::new(optimizer, context.learning_rate(&config.lr), parameters)?,
        })
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
        let x = (x.broadcast_div(&deviation(&x)?)? * self.contrast)?;
        let [width, height] = self.size;
        let x = self.colors.matmul(&x.reshape((3, height * width))?)?;
        // a sigmoid in terms of tanh does not overflow
        (x * 0.5)?
            .tanh()?
            .affine(0.5, 0.5)?
            .reshape((1, 3, height, width))
    }

    fn step(&mut self, image: Tensor, grad: &Tensor) -> Result<Progress> {
        if self.optimizer.progress() == Progress::Finished {
            return Ok(Progress::Finished);
        }
        let grads = (image * grad.detach())?.sum_all()?.backward()?;
        let grads = (self.optimizer.parameters().iter())
            .map(|parameter| match grads.get(parameter) {
                Some(grad) => Ok(grad.clone()),
                None => bail!("a step needs the image of the last render"),
            })
            .collect::<Result<Vec<_>>>()?;
        self.optimizer.step(&grads)
    }

    fn save(&self) -> Result<State> {
        let mut state = self.optimizer.save()?;
        (state.scalars).insert("contrast".to_owned(), self.contrast);
        Ok(state)
    }

    fn load(&mut self, state: &State) -> Result<()> {
        let contrast = state.scalar("contrast")?;
        self.optimizer.load(state)?;
        self.contrast = contrast;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
