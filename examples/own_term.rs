//! A term of one's own: pictures whose left half mirrors their right.
//!
//!     cargo run --release --example own_term -- "a butterfly" butterfly.png [STEPS]

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use generators::{Build, BuildContext, pyramid};
use phantasia::objective::{Term, TermOutput};
use phantasia::picture;
use phantasia::recipe::{Prompt, Recipe};
use phantasia::session::{Session, objective};
use phantasia_core::StepContext;

/// The mean squared difference between a picture and its mirror image.
struct Symmetry {
    weight: f64,
}

impl Term for Symmetry {
    fn name(&self) -> &str {
        "symmetry"
    }

    fn evaluate(&mut self, image: &Tensor, _: StepContext) -> Result<TermOutput> {
        let difference = (image - image.flip(&[3])?)?;
        let loss = difference.sqr()?.mean_all()?.to_scalar::<f32>()?;
        // each pixel stands in the sum twice: as itself, and as its partner's mirror
        let scale = 4.0 * self.weight / image.elem_count() as f64;
        Ok(TermOutput::new(
            self.weight * f64::from(loss),
            (difference * scale)?,
        ))
    }
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let prompt = args.next().context("which prompt?")?;
    let out = args.next().context("where to?")?;
    let steps = args.next().map_or(Ok(200), |steps| steps.parse())?;
    let device = Device::Cpu;
    // what the prompt asks for, and the term beside it
    let recipe = Recipe::new(vec![Prompt::new(&prompt)]);
    let mut objective = objective(&recipe, &device)?;
    objective.push(Box::new(Symmetry { weight: 50.0 }));
    let mut context = BuildContext::new([128, 128], steps, 1, &device);
    let pyramid = pyramid::Config::default().build(&mut context)?;
    let mut session = Session::from_parts(pyramid, objective, steps);
    loop {
        let tick = session.tick()?;
        println!("step {}: symmetry {:.4}", tick.step, tick.terms["symmetry"]);
        if tick.finished {
            break;
        }
    }
    picture::from_tensor(&session.image()?)?.save(out)?;
    Ok(())
}
