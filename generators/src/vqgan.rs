//! Painting in the latents of a VQGAN (VQGAN-CLIP, Crowson et al. 2022).

use std::sync::Arc;

use anyhow::bail;
use phantasia_core::check::Checker;
use phantasia_core::{Schedule, Seamless};

use crate::build::check_learning_rate;
use crate::latent::{self, Latent, Start};
use crate::starts::Starts;
use crate::{Build, BuildContext, Generator};

phantasia_core::config! {
    /// The latents of a VQGAN.
    #[schemars(rename = "VqganConfig")]
    pub struct Config {
        /// `embedded`, a folder, a file, or the name of a known model.
        #[schemars(extend("format" = "model", "x-kind" = "vqgan"))]
        pub model: String = "vqgan-imagenet-f16-16384".into(),
        /// What the latents are at first: `codes` drawn for each place, `noise`, or `init`, the init image's; null takes `init` where
        /// there is an image to start from, else `codes`.
        pub start: Option<Start> = None,
        /// The learning rate, in units of the codes.
        #[schemars(range(min = 0))]
        pub lr: Schedule = 0.1.into(),
        /// Decode in tiles of so many pixels a side, which bounds memory; null does where the whole picture would take several
        /// gigabytes.
        #[schemars(range(min = 1, max = 16384))]
        pub tile: Option<usize> = None,
        #[expect(missing_docs, reason = "the type's docs say it")]
        pub starts: Starts = Starts::default(),
    }
}

impl Build for Config {
    fn build(&self, context: &mut BuildContext<'_>) -> anyhow::Result<Box<dyn Generator>> {
        let autoencoder = context.autoencoder(&self.model)?;
        if autoencoder.codebook().is_none() {
            bail!(
                "`{}` is an autoencoder without a codebook: paint with `kind: latent`, or name a VQGAN",
                self.model
            );
        }
        let start = self.start.unwrap_or(match context.init {
            None => Start::Codes,
            Some(_) => Start::Init,
        });
        let config = latent::Config {
            model: self.model.clone(),
            lr: self.lr.clone(),
            tile: self.tile,
            ..latent::Config::default()
        };
        let from_picture = start == Start::Init;
        let latent = self.starts.best(from_picture, context, |context| {
            Ok(Latent::new(
                &config,
                Arc::clone(&autoencoder),
                start,
                true,
                context,
            )?)
        })?;
        Ok(Box::new(latent))
    }

    fn check(&self, checker: &mut Checker) {
        check_learning_rate(checker, "lr", &self.lr);
    }

    fn allows_zero_steps(&self) -> bool {
        true
    }

    fn needs_init(&self) -> Option<&'static str> {
        (self.start == Some(Start::Init)).then_some("start")
    }

    fn check_seamless(&self, _: Seamless, _: &mut Checker) {}

    fn paints_any_size(&self) -> bool {
        false
    }

    fn template(&self) -> Option<&'static str> {
        Some(include_str!("../recipes/vqgan.yaml"))
    }
}
