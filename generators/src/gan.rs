//! Painting in the latent space of a GAN: what is optimised is what its generator makes a picture of (big-sleep, Wang 2021; StyleCLIP, Patashnik
//! et al. 2021, arXiv 2103.17249; FuseDream, Liu et al. 2021, arXiv 2112.01573).

mod attention;
pub mod biggan;
mod class;
mod error;
pub mod fastgan;
mod files;
mod inversion;
mod ladder;
mod layers;
pub mod lightweight;
pub mod network;
mod options;
mod painting;
pub mod stylegan2;
pub mod stylegan3;
mod styles;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use anyhow::Context as _;
use candle_core::Tensor;
use frozen::resize_to_fill;
use phantasia_core::Schedule;
use phantasia_core::check::Checker;
use weights::models::EMBEDDED;

pub use class::Class;
pub use error::GanError;
pub use files::{ARCHITECTURES, Architecture, embedded, open, read};
pub use inversion::Inversion;
pub use network::{Latent, LatentPullback, Network, Sampling};
pub use options::{NetworkOptions, NoisePlanes, Space};
pub use painting::Gan;

use crate::build::check_learning_rate;
use crate::starts::Starts;
use crate::{Build, BuildContext, Generator};

phantasia_core::config! {
    /// The latents of a GAN.
    #[schemars(rename = "GanConfig")]
    pub struct Config {
        /// `embedded`, a folder, a file, or the name of a known model. FastGAN, lightweight-gan, BigGAN-deep, StyleGAN2 and StyleGAN3 are read, NVIDIA's
        /// .pkl among them; its picture is of the size that the model was trained for.
        #[schemars(extend("format" = "model", "x-kind" = "gan"))]
        pub model: String = "huggan/fastgan-few-shot-painting".into(),
        /// The learning rate.
        #[schemars(range(min = 0))]
        pub lr: Schedule = 0.05.into(),
        /// How far from the middle of what the model knows the latents are drawn: 1 is as it was trained, lower values give cleaner and less
        /// varied pictures (psi).
        #[schemars(range(min = 0, max = 1))]
        pub truncation: f64 = 1.0,
        #[expect(missing_docs, reason = "the type's docs say it")]
        pub starts: Starts = Starts(32),
        /// The share of what was averaged before in the average of the latents, which is what the picture shows; 0 shows the latents as they
        /// are.
        #[schemars(range(min = 0, max = 0.9999))]
        pub ema: f64 = 0.9,
        /// Standard deviation of noise that is added to the latents at each step while they are judged.
        #[schemars(range(min = 0))]
        pub latent_noise: Schedule = 0.0.into(),
        /// How strongly latents are kept where the model was trained; 1 is as strong as the prompts.
        #[schemars(range(min = 0, max = 1e6))]
        pub regularize: f64 = 0.01,
        /// Steps that bring the latents to the image to start from, before the first step of the render.
        #[schemars(range(min = 0, max = 100_000))]
        pub inversion: usize = 200,
        /// StyleGANs: the latents that are optimised, `w`, `w+` (one for each layer) or `z`; null is `w+`.
        pub space: Option<Space> = None,
        /// StyleGAN2: whether its planes of noise are `fixed` or `optimized`; null is `fixed`.
        pub noise: Option<NoisePlanes> = None,
        /// BigGAN: of how many classes a picture may be a mixture; null is all.
        #[schemars(inner(range(min = 1, max = 1_000_000)))]
        pub classes: Option<usize> = None,
        /// BigGAN: the classes to start from, each start from one of them, by their numbers or by their names in ImageNet; null draws from all.
        /// StyleGANs of several classes: the number of the one that is painted.
        pub class: Option<Vec<Class>> = None,
    }
}

impl Config {
    /// Loads the network.
    fn network(&self, context: &mut BuildContext<'_>) -> anyhow::Result<Arc<dyn Network>> {
        let options = self.options(context.seed);
        let (network, warnings) = if self.model == EMBEDDED {
            files::embedded(&options, context.device)?
        } else {
            let path = context.models()?.gan(&self.model)?;
            files::open(&path, &options, context.device)
                // which says the file itself
                .context("cannot load the GAN")?
        };
        context.warnings.extend(warnings);
        let why = format!("`{}` paints pictures of that size", self.model);
        context.warn_of_size(network.size(), &why);
        Ok(Arc::from(network))
    }

    /// What the network is made with.
    fn options(&self, seed: u64) -> NetworkOptions {
        NetworkOptions {
            seed,
            truncation: self.truncation,
            space: self.space,
            noise: self.noise,
            classes: self.classes,
            class: self.class.clone(),
        }
    }

    /// Latents at random, by the context's seed.
    fn sampling(&self, context: &BuildContext<'_>) -> Sampling {
        Sampling {
            seed: context.seed,
            truncation: self.truncation,
            device: context.device.clone(),
        }
    }

    /// Latents that show the image to start from.
    fn invert(
        &self,
        network: &dyn Network,
        init: &Tensor,
        context: &mut BuildContext<'_>,
    ) -> anyhow::Result<Vec<Latent>> {
        let sampling = self.sampling(context);
        if context.is_restored {
            return Ok(network.draw(&sampling)?);
        }
        let inversion = Inversion {
            starts: self.starts.0,
            steps: self.inversion,
        };
        let target = resize_to_fill(init, network.size())?;
        let found = inversion.run(network, &target, &sampling)?;
        context.notes.push(format!(
            "the latents show the image to start from with an error of {:.3}, and the nearest of {} samples had {:.3} (root mean square, of a range \
             of 1)",
            found.error, inversion.starts, found.first_error
        ));
        Ok(found.latents)
    }
}

impl Build for Config {
    fn build(&self, context: &mut BuildContext<'_>) -> anyhow::Result<Box<dyn Generator>> {
        let network = self.network(context)?;
        if let Some(init) = context.init()? {
            let latents = self.invert(network.as_ref(), &init, context)?;
            return Ok(Box::new(Gan::new(self, network, latents, context)?));
        }
        // the noise of steps is the same whichever start is taken
        let seed = context.seed;
        // without steps it is a plain sample of the seed
        let starts = if context.steps == 0 {
            Starts::default()
        } else {
            self.starts
        };
        let gan = starts.best(false, context, |context| {
            let latents = network.draw(&self.sampling(context))?;
            Ok(Gan::new(self, Arc::clone(&network), latents, context)?.with_seed(seed))
        })?;
        Ok(Box::new(gan))
    }

    fn check(&self, checker: &mut Checker) {
        check_learning_rate(checker, "lr", &self.lr);
        let how = "give `truncation` a value above 0";
        self.starts.check(self.truncation > 0.0, how, checker);
        if self.class.as_ref().is_some_and(Vec::is_empty) {
            checker.invalid("class", "name at least one class, or leave it out");
        }
        if self.model == EMBEDDED {
            for (key, error) in files::refused_by_embedded(&self.options(0)) {
                checker.invalid(key, error.to_string());
            }
        }
    }

    fn allows_zero_steps(&self) -> bool {
        true
    }

    fn paints_any_size(&self) -> bool {
        false
    }

    fn template(&self) -> Option<&'static str> {
        Some(include_str!("../recipes/gan.yaml"))
    }
}

#[cfg(test)]
mod tests;
