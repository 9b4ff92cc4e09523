//! A picture as its pixels, all of any colour or each one of a palette's.
//!
//! With a palette each pixel shows the nearest colour of it, and the gradient passes as if it did not (the straight-through estimator:
//! Bengio, Léonard and Courville 2013). A palette that is learned follows the gradient of the pixels that show it.

mod palette;

use candle_core::{DType, Result, Tensor, Var, bail};
use frozen::{Layer, Pullback};
use phantasia_core::check::Checker;
use phantasia_core::{Schedule, Seamless};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use palette::{Color, Palette};

use crate::build::check_learning_rate;
use crate::random::normals;
use crate::starts::Starts;
use crate::{
    Build, BuildContext, ClampWithGrad, Generator, Optimizer, OptimizerConfig, OptimizerKind,
    Progress, State,
};

phantasia_core::config! {
    /// Pixels, each of any colour or one of a palette's.
    #[schemars(rename = "PixelsConfig")]
    pub struct Config {
        /// The colours that may show: so many, learned, or a list of them; null for all.
        pub palette: Option<Palette> = None,
        /// Standard deviation of the noise at the start, around mid-grey.
        #[schemars(range(min = 0, max = 1e6))]
        pub noise: f64 = 0.05,
        /// The learning rate of Adam.
        #[schemars(range(min = 0))]
        pub lr: Schedule = 0.02.into(),
        #[expect(missing_docs, reason = "the type's docs say it")]
        pub starts: Starts = Starts::default(),
    }
}

impl Build for Config {
    fn build(&self, context: &mut BuildContext<'_>) -> anyhow::Result<Box<dyn Generator>> {
        let from_picture = context.init.is_some();
        let pixels = self.starts.best(from_picture, context, |context| {
            Ok(Pixels::new(self, context)?)
        })?;
        Ok(Box::new(pixels))
    }

    fn check(&self, checker: &mut Checker) {
        match &self.palette {
            Some(Palette::Fixed(colors)) if colors.is_empty() => checker.invalid(
                "palette",
                "there is no colour: give one, or a number of colours to learn",
            ),
            Some(Palette::Fixed(colors)) if colors.len() > MOST_COLORS => checker.unexpected(
                "palette",
                format!("at most {MOST_COLORS} colours"),
                colors.len(),
            ),
            _ => {}
        }
        check_learning_rate(checker, "lr", &self.lr);
        let is_random = self.noise > 0.0 || matches!(self.palette, Some(Palette::Learned(_)));
        let how = "give `noise` a value above 0";
        self.starts.check(is_random, how, checker);
    }

    fn is_one_color(&self) -> bool {
        match &self.palette {
            None => false,
            Some(Palette::Learned(count)) => *count == 1,
            Some(Palette::Fixed(colors)) => colors.len() == 1,
        }
    }

    fn check_seamless(&self, _: Seamless, _: &mut Checker) {}

    fn template(&self) -> Option<&'static str> {
        Some(include_str!("../recipes/pixels.yaml"))
    }
}

const MOST_COLORS: usize = 256;

/// What the last render keeps for the step after it.
struct Rendered {
    clamp: Pullback,
    /// The palette's colour that each pixel shows; none without a palette.
    colors: Option<Vec<usize>>,
}

/// A picture as its pixels, as a [`Generator`].
pub struct Pixels {
    palette: Option<Palette>,
    /// The pixels, `[1, 3, height, width]`; with a learned palette its colours, `[colors, 3]`, too.
    optimizer: Optimizer,
    rendered: Option<Rendered>,
}

impl Pixels {
    /// Noise around mid-grey, or the image to start from.
    ///
    /// # Errors
    /// When the picture has no pixels or the palette no colours.
    pub fn new(config: &Config, context: &BuildContext<'_>) -> Result<Self> {
        let (width, height) = context.sides()?;
        let (init, device) = (context.init()?, context.device);
        let mut rng = ChaCha8Rng::seed_from_u64(context.seed);
        let pixels = match &init {
            None => {
                let values = normals(&mut rng, 3 * height * width, config.noise);
                (Tensor::from_vec(values, (1, 3, height, width), device)? + 0.5)?
            }
            Some(init) => init.copy()?,
        };
        let mut parameters = vec![Var::from_tensor(&pixels)?];
        match &config.palette {
            Some(Palette::Learned(count)) if *count > 0 => {
                let colors = match &init {
                    None => (0..3 * count).map(|_| rng.random_range(0.2..0.8)).collect(),
                    Some(init) => drawn(init, *count, &mut rng)?,
                };
                parameters.push(Var::from_vec(colors, (*count, 3), device)?);
            }
            Some(Palette::Fixed(colors)) if !colors.is_empty() => {}
            Some(_) => bail!("a palette has one colour at least"),
            None => {}
        }
        let optimizer = OptimizerConfig::new(OptimizerKind::Adam);
        Ok(Self {
            optimizer: Optimizer::new(optimizer, context.learning_rate(&config.lr), parameters)?,
            palette: config.palette.clone(),
            rendered: None,
        })
    }

    /// The present palette, in 0..=1.
    fn palette(&self) -> Result<Option<Vec<[f32; 3]>>> {
        let level = |level: u8| f32::from(level) / 255.0;
        let colors = match (&self.palette, self.optimizer.parameters()) {
            (None, _) => return Ok(None),
            (Some(Palette::Fixed(colors)), _) => {
                colors.iter().map(|color| color.0.map(level)).collect()
            }
            (Some(Palette::Learned(_)), [_, colors]) => {
                let colors = colors.as_detached_tensor().clamp(0f32, 1f32)?;
                let rows = colors.to_vec2::<f32>()?.into_iter();
                rows.map(|row| [row[0], row[1], row[2]]).collect()
            }
            (Some(Palette::Learned(_)), _) => bail!("the palette is missing"),
        };
        Ok(Some(colors))
    }

    fn pixels(&self) -> Result<Tensor> {
        match self.optimizer.parameters().first() {
            Some(pixels) => Ok(pixels.as_detached_tensor()),
            None => bail!("the pixels are missing"),
        }
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
        self.rendered = Some(Rendered { clamp, colors });
        Ok(image)
    }

    fn step(&mut self, _: Tensor, grad: &Tensor) -> Result<Progress> {
        if self.optimizer.progress() == Progress::Finished {
            return Ok(Progress::Finished);
        }
        let Some(rendered) = self.rendered.take() else {
            bail!("a step needs a render before it");
        };
        let grad = grad.detach();
        let mut grads = vec![(rendered.clamp)(&grad)?];
        if let (Some(shown), [_, colors]) = (&rendered.colors, self.optimizer.parameters()) {
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
        self.optimizer.step(&grads)
    }

    fn save(&self) -> Result<State> {
        self.optimizer.save()
    }

    fn load(&mut self, state: &State) -> Result<()> {
        self.optimizer.load(state)?;
        self.rendered = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
