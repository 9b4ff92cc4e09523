//! Sessions that are made of parts: steps, masks and what is not finite.

use super::*;
use crate::objective::{Term, TermOutput};
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

/// Lowers every value by a tenth in each step, until a step at which its loss is not a number.
struct Downwards {
    breaks_at: usize,
}

impl Term for Downwards {
    fn name(&self) -> &str {
        "downwards"
    }

    fn evaluate(&mut self, image: &Tensor, at: StepContext) -> Result<TermOutput> {
        let broken = at.step >= self.breaks_at;
        Ok(TermOutput::new(
            if broken { f64::NAN } else { 1.0 },
            Tensor::full(0.1f32, image.shape(), image.device())?,
        ))
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
        source: Tensor::full(0.9f32, (1, 3, 2, 2), &device)?,
    });
    session.tick()?;
    let values = session.image()?.flatten_all()?.to_vec1::<f32>()?;
    assert!(
        (values[0] - 0.4).abs() < 1e-6 && values[1] == 0.9,
        "{values:?}"
    );
    Ok(())
}
