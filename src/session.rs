//! One render: the generator, what judges it, and the tick that makes them work on each other.

mod build;
mod generator;

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Tensor};
use generators::{Generator, Progress};

pub use build::SessionOptions;

use crate::objective::Objective;
use crate::prompt::At;

/// What one step found.
#[derive(Clone, Debug)]
pub struct Tick {
    /// Steps done, this one among them.
    pub step: usize,
    /// The picture that was judged, as it was before the step: `[1, 3, height, width]` in 0..=1, without a graph.
    pub image: Tensor,
    /// The loss of that picture.
    pub loss: f64,
    /// Each term's loss, by name.
    pub terms: BTreeMap<String, f64>,
    /// The mean cosine of the cutouts to each prompt, by its label.
    pub similarity: BTreeMap<String, f64>,
    /// How long the step took.
    pub seconds: f64,
    /// Whether the render is complete.
    pub finished: bool,
}

/// Where the picture may change, and what it is elsewhere.
struct Mask {
    /// `[1, 1, height, width]` in 0..=1
    paint: Tensor,
    /// `[1, 3, height, width]`: what shows where `paint` is 0.
    behind: Tensor,
}

impl Mask {
    fn apply(&self, image: &Tensor) -> candle_core::Result<Tensor> {
        let painted = image.broadcast_mul(&self.paint)?;
        painted + self.behind.broadcast_mul(&self.paint.affine(-1.0, 1.0)?)?
    }
}

/// A render in progress.
pub struct Session {
    generator: Box<dyn Generator>,
    objective: Objective,
    mask: Option<Mask>,
    step: usize,
    steps: usize,
    warnings: Vec<String>,
    /// The last picture whose loss was a number.
    good: Option<Tensor>,
}

impl Session {
    /// A session of parts, to try generators and objectives with.
    pub fn from_parts(generator: Box<dyn Generator>, objective: Objective, steps: usize) -> Self {
        Self {
            generator,
            objective,
            mask: None,
            step: 0,
            steps,
            warnings: vec![],
            good: None,
        }
    }

    /// What the person should know before the render starts: words of a prompt that a model does not read, sizes that were changed.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Steps done.
    pub fn step(&self) -> usize {
        self.step
    }

    /// Steps in all.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// One step: render, judge, change.
    pub fn tick(&mut self) -> Result<Tick> {
        let start = Instant::now();
        let at = At {
            step: self.step,
            steps: self.steps,
        };
        let rendered = self.generator.render().context("the generator failed")?;
        let image = self.shown(&rendered)?;
        let mut guidance = self.objective.guide(&image, at)?;
        if !is_finite(&guidance.grad)? {
            bail!(
                "the gradient is no longer finite at step {}: lower the learning rate",
                self.step + 1
            );
        }
        self.good = Some(image.clone());
        if let Some(mask) = &self.mask {
            guidance.grad = guidance.grad.broadcast_mul(&mask.paint)?;
        }
        let progress = (self.generator.step(rendered, &guidance.grad))
            .context("the generator could not take its step")?;
        self.step += 1;
        Ok(Tick {
            step: self.step,
            image,
            loss: guidance.loss,
            terms: guidance.terms,
            similarity: guidance.similarity,
            seconds: start.elapsed().as_secs_f64(),
            finished: progress == Progress::Finished || self.step >= self.steps,
        })
    }

    /// The picture as it is now: `[1, 3, height, width]` in 0..=1. Where it is broken, the last one that was not.
    pub fn image(&mut self) -> Result<Tensor> {
        let rendered = self.generator.render().context("the generator failed")?;
        let image = self.shown(&rendered)?;
        match (&self.good, is_finite(&image)?) {
            (Some(good), false) => Ok(good.clone()),
            (None, false) => bail!("there is no picture: its values are not finite"),
            (_, true) => Ok(image),
        }
    }

    fn shown(&self, rendered: &Tensor) -> Result<Tensor> {
        let image = rendered.detach();
        Ok(match &self.mask {
            None => image,
            Some(mask) => mask.apply(&image)?,
        })
    }
}

/// Whether all values are numbers.
fn is_finite(x: &Tensor) -> candle_core::Result<bool> {
    // a sum of squares is finite if and only if all its parts are, up to values whose square is not
    let sum = x.sqr()?.sum_all()?.to_dtype(DType::F64)?;
    Ok(sum.to_scalar::<f64>()?.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::{Term, Verdict};
    use candle_core::{Device, Var};
    use generators::State;

    /// Moves a grey picture along the gradient.
    struct Plain(Var);

    impl Generator for Plain {
        fn render(&mut self) -> candle_core::Result<Tensor> {
            // a copy: `set` writes in place
            self.0.as_tensor().copy()
        }

        fn step(&mut self, _: Tensor, grad: &Tensor) -> candle_core::Result<Progress> {
            self.0.set(&(self.0.as_detached_tensor() - grad)?)?;
            Ok(Progress::Running)
        }

        fn save(&self) -> candle_core::Result<State> {
            Ok(State::default())
        }

        fn load(&mut self, _: &State) -> candle_core::Result<()> {
            Ok(())
        }
    }

    /// Wants every value to be smaller by a tenth, until a step at which its loss is not a number.
    struct Downwards {
        breaks_at: usize,
    }

    impl Term for Downwards {
        fn name(&self) -> &str {
            "downwards"
        }

        fn judge(&mut self, image: &Tensor, at: At) -> Result<Verdict> {
            let broken = at.step >= self.breaks_at;
            Ok(Verdict {
                loss: if broken { f64::NAN } else { 1.0 },
                grad: Tensor::full(0.1f32, image.shape(), image.device())?,
                similarity: BTreeMap::new(),
                parts: BTreeMap::new(),
            })
        }
    }

    fn session(breaks_at: usize) -> Session {
        let grey = Tensor::full(0.5f32, (1, 3, 2, 2), &Device::Cpu).expect("an image");
        let generator = Plain(Var::from_tensor(&grey).expect("a variable"));
        let objective = Objective::new(vec![Box::new(Downwards { breaks_at })]);
        Session::from_parts(Box::new(generator), objective, 3)
    }

    fn first_value(image: &Tensor) -> f32 {
        image
            .flatten_all()
            .expect("values")
            .to_vec1()
            .expect("values")[0]
    }

    #[test]
    fn a_tick_shows_the_picture_before_its_step() -> Result<()> {
        let mut session = session(usize::MAX);
        let tick = session.tick()?;
        assert_eq!((tick.step, tick.finished), (1, false));
        assert_eq!(first_value(&tick.image), 0.5);
        assert!((first_value(&session.image()?) - 0.4).abs() < 1e-6);
        session.tick()?;
        assert!(session.tick()?.finished);
        Ok(())
    }

    #[test]
    fn a_loss_that_is_not_a_number_names_its_term_and_leaves_the_picture() -> Result<()> {
        let mut session = session(1);
        session.tick()?;
        let error = session.tick().expect_err("the loss is broken").to_string();
        assert!(
            error.contains("downwards") && error.contains("step 2"),
            "{error}"
        );
        assert!((first_value(&session.image()?) - 0.4).abs() < 1e-6);
        Ok(())
    }

    #[test]
    fn a_mask_keeps_what_is_behind_it() -> Result<()> {
        let mut session = session(usize::MAX);
        let device = Device::Cpu;
        session.mask = Some(Mask {
            paint: Tensor::new(&[[[[1f32, 0.0], [0.0, 0.0]]]], &device)?,
            behind: Tensor::full(0.9f32, (1, 3, 2, 2), &device)?,
        });
        session.tick()?;
        let values = session.image()?.flatten_all()?.to_vec1::<f32>()?;
        assert!(
            (values[0] - 0.4).abs() < 1e-6 && values[1] == 0.9,
            "{values:?}"
        );
        Ok(())
    }
}
