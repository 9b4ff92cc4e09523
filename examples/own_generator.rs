//! A generator of one's own: a picture that is a sum of soft, coloured discs, whose places, sizes and colours follow CLIP's gradient.
//!
//!     cargo run --release --example own_generator -- "a red apple" apple.png [STEPS]
//!
//! To make it a kind that recipes name, move it to a file of the crate `generators`, let its `Config` derive what `pyramid::Config` derives,
//! and add a line to `registry.rs`.

use anyhow::{Context, Result};
use candle_core::{D, DType, Device, Tensor, Var};
use generators::{
    Build, BuildContext, Generator, Optimizer, OptimizerConfig, OptimizerKind, Progress, State,
};
use phantasia::picture;
use phantasia::recipe::{Prompt, Recipe, Schedule};
use phantasia::session::{Session, objective};

/// The settings of [`Discs`].
struct Config {
    /// How many discs there are.
    discs: usize,
    /// The learning rate of Adam.
    lr: Schedule,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            discs: 60,
            lr: Schedule::from(0.02),
        }
    }
}

impl Build for Config {
    fn build(&self, context: &mut BuildContext<'_>) -> Result<Box<dyn Generator>> {
        Ok(Box::new(Discs::new(self, context)?))
    }
}

/// A canvas of soft discs.
struct Discs {
    /// Centres `[discs, 2]`, as shares of the sides; logarithms of radii `[discs, 1]`; colours `[discs, 3]`, which tanh squashes.
    optimizer: Optimizer,
    /// The middle of each pixel: `[2, height * width]`, as shares of the sides.
    pixels: Tensor,
    size: [usize; 2],
}

impl Discs {
    fn new(config: &Config, context: &BuildContext<'_>) -> candle_core::Result<Self> {
        let (device, size @ [width, height]) = (context.device, context.size);
        let middle = |index: usize, side: usize| (index as f32 + 0.5) / side as f32;
        let xs = (0..width * height).map(|pixel| middle(pixel % width, width));
        let ys = (0..width * height).map(|pixel| middle(pixel / width, height));
        let pixels = Tensor::from_iter(xs.chain(ys), device)?.reshape((2, width * height))?;
        // a spiral from the middle outwards
        let discs = config.discs;
        let centres = (0..discs).flat_map(|disc| {
            let (angle, distance) = (2.4 * disc as f32, 0.5 * (disc as f32 / discs as f32).sqrt());
            [0.5 + distance * angle.cos(), 0.5 + distance * angle.sin()]
        });
        let parameters = vec![
            Var::from_tensor(&Tensor::from_iter(centres, device)?.reshape((discs, 2))?)?,
            Var::from_tensor(&Tensor::full(-2.3f32, (discs, 1), device)?)?,
            Var::zeros((discs, 3), DType::F32, device)?,
        ];
        let adam = OptimizerConfig::new(OptimizerKind::Adam);
        let optimizer = Optimizer::new(adam, context.learning_rate(&config.lr), parameters)?;
        Ok(Self {
            optimizer,
            pixels,
            size,
        })
    }
}

impl Generator for Discs {
    fn render(&mut self) -> candle_core::Result<Tensor> {
        let [width, height] = self.size;
        let [centres, radii, colours] = self.optimizer.parameters() else {
            unreachable!("three parameters")
        };
        // [discs, height * width]: exp(-distance² / radius²)
        let distance = |axis: usize| {
            let centre = centres.narrow(D::Minus1, axis, 1)?;
            self.pixels
                .narrow(0, axis, 1)?
                .broadcast_sub(&centre)?
                .sqr()
        };
        let scale = radii.exp()?.sqr()?.recip()?.neg()?;
        let shapes = (distance(0)? + distance(1)?)?
            .broadcast_mul(&scale)?
            .exp()?;
        let image = (colours.t()?.matmul(&shapes)? * 0.5)?.tanh()?;
        ((image * 0.5)? + 0.5)?.reshape((1, 3, height, width))
    }

    fn step(&mut self, image: Tensor, grad: &Tensor) -> candle_core::Result<Progress> {
        // the gradient of sum(image * grad) is the loss's own, taken back to the parameters
        let store = (image * grad)?.sum_all()?.backward()?;
        let grads: Vec<Tensor> = (self.optimizer.parameters().iter())
            .map(|parameter| match store.get(parameter) {
                Some(grad) => Ok(grad.clone()),
                None => parameter.zeros_like(),
            })
            .collect::<candle_core::Result<_>>()?;
        self.optimizer.step(&grads)
    }

    fn save(&self) -> candle_core::Result<State> {
        self.optimizer.save()
    }

    fn load(&mut self, state: &State) -> candle_core::Result<()> {
        self.optimizer.load(state)
    }
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let prompt = args.next().context("which prompt?")?;
    let out = args.next().context("where to?")?;
    let steps = args.next().map_or(Ok(200), |steps| steps.parse())?;
    let device = Device::Cpu;
    let recipe = Recipe::new(vec![Prompt::new(&prompt)]);
    let discs = Config::default().build(&mut BuildContext::new([96, 96], steps, 1, &device))?;
    let mut session = Session::from_parts(discs, objective(&recipe, &device)?, steps);
    while !session.tick()?.finished {}
    picture::from_tensor(&session.image()?)?.save(out)?;
    Ok(())
}
