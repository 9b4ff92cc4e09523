//! The init term: a pull back to the picture that the render, or a stage of it, started from.

use anyhow::Result;
use candle_core::{DType, Tensor};
use frozen::Layer;
use phantasia_core::{Schedule, Seamless, StepContext, config, schema};

use crate::coarse::{self, STRENGTH};
use crate::context::{TermConfig, TermContext};
use crate::direction::BasePicture;
use crate::term::{Term, TermOutput};

config! {
    /// Keeps the picture near the one that it started from: the recipe's `init`, or what the stage before has painted (`init_weight` of VQGAN-CLIP,
    /// `init_scale` of disco-diffusion). A number alone is its weight. A first stage that starts from nothing is not held to anything.
    #[serde(remote = "Self")]
    #[schemars(rename = "Init", transform = schema::or_schedule)]
    pub struct Config {
        /// How much it counts, over `t`. The loss is 20 times the mean squared difference; near 1 it counts about as much as the embedded CLIP.
        #[schemars(range(min = 0))]
        pub weight: Schedule = 1.0.into(),
        /// The shorter side in pixels at which the two are compared. What is finer is left to CLIP.
        #[schemars(range(min = 1))]
        pub resolution: usize = 64,
    }
}

phantasia_core::or_weight!(
    Config,
    "a weight, or a map with keys such as `weight` and `resolution`"
);

impl TermConfig for Config {
    fn build(&self, context: &mut TermContext) -> Result<Option<Box<dyn Term>>> {
        if self.weight.constant() == Some(0.0) {
            return Ok(None);
        }
        Ok(Some(Box::new(InitTerm {
            weight: self.weight.clone(),
            resolution: self.resolution,
            start: context.base.clone(),
            seamless: context.seamless,
        })))
    }
}

struct InitTerm {
    weight: Schedule,
    resolution: usize,
    start: BasePicture,
    seamless: Seamless,
}

impl Term for InitTerm {
    fn name(&self) -> &str {
        "init"
    }

    fn evaluate(&mut self, image: &Tensor, at: StepContext) -> Result<TermOutput> {
        let weight = self.weight.at(at.t());
        let start = match weight {
            0.0 => None,
            _ => self.start.fit(image)?,
        };
        let Some(start) = start else {
            return Ok(TermOutput::new(0.0, image.zeros_like()?));
        };
        let small = coarse::resample(image, self.resolution, self.seamless)?;
        let (own, back) = small.vjp(image)?;
        let apart = (own - small.eval(&start)?)?;
        let scale = weight * STRENGTH / apart.elem_count() as f64;
        let sum = apart.sqr()?.sum_all()?.to_dtype(DType::F64)?;
        let loss = scale * sum.to_scalar::<f64>()?;
        Ok(TermOutput::new(loss, back(&(apart * (2.0 * scale))?)?))
    }
}
