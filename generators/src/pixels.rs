//! A picture as its pixels, all of any colour or each one of a palette's.
//!
//! With a palette each pixel shows the nearest colour of it, and the gradient passes as if it did not (the straight-through estimator:
//! Bengio, Léonard and Courville 2013). A palette that is learned follows the gradient of the pixels that show it.

use candle_core::{DType, Device, Result, Tensor, Var, bail};
use frozen::{Layer, Pullback};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::pyramid::normals;
use crate::{
    ClampWithGrad, Generator, LearningRate, Optimizer, OptimizerKind, Progress, State, share_done,
};

/// Which colours a picture may have.
#[derive(Clone, Debug, PartialEq)]
pub enum Palette {
    /// All.
    Any,
    /// So many, learned; at least 1.
    Learned(usize),
    /// These: red, green and blue in 0..=1; at least one.
    Fixed(Vec<[f32; 3]>),
}

/// All that decides how [`Pixels`] paints.
#[derive(Clone, Debug)]
pub struct PixelsConfig {
    /// Width of the picture in pixels.
    pub width: usize,
    /// Height of the picture in pixels.
    pub height: usize,
    /// Which colours it may have.
    pub palette: Palette,
    /// Standard deviation of the noise around mid-grey at the start.
    pub noise: f64,
    /// The learning rate of Adam.
    pub lr: LearningRate,
    /// How many steps the render has.
    pub steps: usize,
    /// Decides the noise and a learned palette at the start.
    pub seed: u64,
}

/// What the last render leaves for the step after it.
struct Shown {
    clamp: Pullback,
    /// The palette's colour that each pixel shows; none without a palette.
    colors: Option<Vec<usize>>,
}

/// A picture as its pixels, as a [`Generator`].
pub struct Pixels {
    config: PixelsConfig,
    /// The pixels, `[1, 3, height, width]`; with a learned palette its colours, `[colors, 3]`, too.
    optimizer: Optimizer,
    shown: Option<Shown>,
}

impl Pixels {
    /// Noise around mid-grey, or `init`, an image `[1, 3, height, width]` in 0..=1.
    ///
    /// # Errors
    /// When the picture has no pixels, the palette no colours, or `init` another shape.
    pub fn new(config: PixelsConfig, init: Option<&Tensor>, device: &Device) -> Result<Self> {
        let (width, height) = (config.width, config.height);
        if width == 0 || height == 0 {
            bail!("a picture of {width} x {height} has no pixels");
        }
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let shape = (1, 3, height, width);
        let pixels = match init {
            None => {
                let values = normals(&mut rng, 3 * height * width, config.noise);
                Var::from_tensor(&(Tensor::from_vec(values, shape, device)? + 0.5)?)?
            }
            Some(init) => {
                let expected = [1, 3, height, width];
                if init.dims() != expected {
                    bail!(
                        "the init image has shape {:?}, and {expected:?} is expected",
                        init.dims()
                    );
                }
                Var::from_tensor(&init.detach().to_dtype(DType::F32)?.copy()?)?
            }
        };
        let mut parameters = vec![pixels];
        match &config.palette {
            Palette::Any => {}
            Palette::Learned(0) => bail!("a palette has one colour at least"),
            Palette::Learned(count) => {
                let colors = match init {
                    None => (0..3 * count).map(|_| rng.random_range(0.2..0.8)).collect(),
                    Some(init) => drawn(init, *count, &mut rng)?,
                };
                parameters.push(Var::from_vec(colors, (*count, 3), device)?);
            }
            Palette::Fixed(colors) if colors.is_empty() => {
                bail!("a palette has one colour at least")
            }
            Palette::Fixed(_) => {}
        }
        let adam = OptimizerKind::Adam { weight_decay: 0.0 };
        Ok(Self {
            optimizer: Optimizer::new(adam, parameters)?,
            config,
            shown: None,
        })
    }

    /// The palette as it is now.
    fn palette(&self) -> Result<Option<Vec<[f32; 3]>>> {
        Ok(match (&self.config.palette, self.optimizer.parameters()) {
            (Palette::Any, _) => None,
            (Palette::Fixed(colors), _) => Some(colors.clone()),
            (Palette::Learned(_), [_, colors]) => {
                let rows = colors
                    .as_detached_tensor()
                    .clamp(0f32, 1f32)?
                    .to_vec2::<f32>()?;
                Some(
                    rows.into_iter()
                        .map(|row| [row[0], row[1], row[2]])
                        .collect(),
                )
            }
            (Palette::Learned(_), _) => bail!("the palette is missing"),
        })
    }

    fn pixels(&self) -> Result<Tensor> {
        match self.optimizer.parameters().first() {
            Some(pixels) => Ok(pixels.as_detached_tensor()),
            None => bail!("the pixels are missing"),
        }
    }

    fn share_done(&self) -> f64 {
        share_done(self.optimizer.steps(), self.config.steps)
    }
}

/// So many colours of a picture, each drawn with a preference for those far from the ones before (k-means++: Arthur and Vassilvitskii
/// 2007).
fn drawn(image: &Tensor, count: usize, rng: &mut ChaCha8Rng) -> Result<Vec<f32>> {
    let values = image
        .detach()
        .to_dtype(DType::F32)?
        .flatten_all()?
        .to_vec1::<f32>()?;
    let plane = values.len() / 3;
    let color = |pixel: usize| [0, 1, 2].map(|channel| values[channel * plane + pixel]);
    let mut colors = vec![color(rng.random_range(0..plane))];
    while colors.len() < count {
        let far: Vec<f64> = (0..plane)
            .map(|pixel| f64::from(nearest(&colors, color(pixel)).1))
            .collect();
        let mut left = rng.random::<f64>() * far.iter().sum::<f64>();
        let chosen = far.iter().position(|distance| {
            left -= distance;
            left <= 0.0
        });
        colors.push(color(chosen.unwrap_or(plane - 1)));
    }
    Ok(colors.concat())
}

/// The palette's nearest colour and the square of its distance; the first of several.
fn nearest(palette: &[[f32; 3]], color: [f32; 3]) -> (usize, f32) {
    let distance = |other: &[f32; 3]| -> f32 {
        (0..3)
            .map(|i| (other[i] - color[i]) * (other[i] - color[i]))
            .sum()
    };
    let mut best = (0, f32::INFINITY);
    for (i, other) in palette.iter().enumerate() {
        let far = distance(other);
        if far < best.1 {
            best = (i, far);
        }
    }
    best
}

impl Generator for Pixels {
    fn render(&mut self) -> Result<Tensor> {
        let (image, clamp) = ClampWithGrad.vjp(&self.pixels()?)?;
        let (image, colors) = match self.palette()? {
            None => (image, None),
            Some(palette) => {
                let values = image.flatten_all()?.to_vec1::<f32>()?;
                let plane = values.len() / 3;
                let color = |pixel: usize| [0, 1, 2].map(|channel| values[channel * plane + pixel]);
                let shown: Vec<usize> = (0..plane).map(|i| nearest(&palette, color(i)).0).collect();
                let planes = (0..3).flat_map(|channel| {
                    let palette = &palette;
                    shown.iter().map(move |&i| palette[i][channel])
                });
                let image = Tensor::from_vec(planes.collect(), image.shape(), image.device())?;
                (image, Some(shown))
            }
        };
        self.shown = Some(Shown { clamp, colors });
        Ok(image)
    }

    fn step(&mut self, _: Tensor, grad: &Tensor) -> Result<Progress> {
        if self.optimizer.steps() >= self.config.steps {
            return Ok(Progress::Finished);
        }
        let Some(shown) = self.shown.take() else {
            bail!("a step needs a render before it");
        };
        let grad = grad.detach();
        let mut grads = vec![(shown.clamp)(&grad)?];
        if let (Some(shown), [_, colors]) = (&shown.colors, self.optimizer.parameters()) {
            let values = grad.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
            let plane = values.len() / 3;
            let mut sums = vec![0.0; colors.elem_count()];
            for (pixel, color) in shown.iter().enumerate() {
                for channel in 0..3 {
                    sums[3 * color + channel] += values[channel * plane + pixel];
                }
            }
            grads.push(Tensor::from_vec(sums, colors.shape(), colors.device())?);
        }
        let lr = self.config.lr.at(self.share_done());
        self.optimizer.step(&grads, lr)?;
        Ok(Progress::after(self.optimizer.steps(), self.config.steps))
    }

    fn save(&self) -> Result<State> {
        let mut state = State::default();
        self.optimizer.save(&mut state)?;
        Ok(state)
    }

    fn load(&mut self, state: &State) -> Result<()> {
        self.optimizer.load(state)?;
        self.shown = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(palette: Palette) -> Pixels {
        let config = PixelsConfig {
            width: 6,
            height: 4,
            palette,
            noise: 0.2,
            lr: LearningRate::from(0.03),
            steps: 300,
            seed: 5,
        };
        Pixels::new(config, None, &Device::Cpu).expect("pixels")
    }

    /// Half one colour, half another.
    fn aim() -> Tensor {
        let half = |color: [f32; 3]| {
            let color = Tensor::new(&color, &Device::Cpu)?.reshape((1, 3, 1, 1))?;
            color.broadcast_as((1, 3, 4, 3))
        };
        let halves =
            half([0.9, 0.1, 0.2]).and_then(|a| Tensor::cat(&[a, half([0.1, 0.4, 0.8])?], 3));
        halves.expect("an image")
    }

    fn off(pixels: &mut Pixels, steps: usize) -> f32 {
        for _ in 0..steps {
            let image = pixels.render().expect("an image");
            let grad = (&image - aim()).expect("a gradient");
            pixels.step(image, &grad).expect("a step");
        }
        let image = pixels.render().expect("an image");
        let off = (image - aim()).and_then(|x| x.abs()?.max_all()?.to_scalar::<f32>());
        off.expect("a number")
    }

    #[test]
    fn pixels_take_any_colour() {
        assert!(off(&mut pixels(Palette::Any), 200) < 0.02);
    }

    #[test]
    fn a_palette_is_learned() {
        assert!(off(&mut pixels(Palette::Learned(2)), 300) < 0.05);
    }

    #[test]
    fn a_fixed_palette_is_all_that_shows() {
        let colors = vec![[0.1, 0.4, 0.8], [0.9, 0.1, 0.2], [1.0, 1.0, 1.0]];
        let mut pixels = pixels(Palette::Fixed(colors.clone()));
        off(&mut pixels, 100);
        let image = pixels
            .render()
            .expect("an image")
            .flatten(2, 3)
            .expect("planes");
        let image = image
            .squeeze(0)
            .and_then(|x| x.t()?.to_vec2::<f32>())
            .expect("colours");
        for (i, color) in image.iter().enumerate() {
            let expected = if i % 6 < 3 { 1 } else { 0 };
            assert_eq!(color[..], colors[expected], "{i}");
        }
    }

    #[test]
    fn the_gradient_is_the_images_own() {
        let mut pixels = pixels(Palette::Any);
        let image = pixels.render().expect("an image");
        let grad = image.affine(1.0, -0.3).expect("a gradient");
        let shown = pixels.shown.take().expect("a render");
        let inside = (shown.clamp)(&grad).expect("a gradient");
        let off = (inside - grad).and_then(|x| x.abs()?.max_all()?.to_scalar::<f32>());
        assert_eq!(off.expect("a number"), 0.0);
    }

    #[test]
    fn saved_pixels_go_on_to_the_same_bytes() {
        let mut whole = pixels(Palette::Learned(3));
        off(&mut whole, 3);
        let saved = whole.save().expect("a state");
        let mut resumed = pixels(Palette::Learned(3));
        resumed.load(&saved).expect("a state that fits");
        assert_eq!(off(&mut whole, 4), off(&mut resumed, 4));
    }
}
