//! Augmentations of cutouts, one file each.

pub mod affine;
pub mod erase;
pub mod flip;
pub mod jitter;
pub mod noise;
pub mod perspective;

use phantasia_core::schema;
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cutout_layer::Cutout;

/// Declares the augmentations: each is a bare word, or a map of the word and its configuration.
macro_rules! registry {
    ($($kind:ident: $config:ty,)*) => {
        /// A random change of a cutout; the bare word takes the defaults.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        #[schemars(transform = schema::or_bare_words)]
        #[expect(missing_docs, reason = "the docs of the configurations say it")]
        pub enum Augment {
            $($kind($config),)*
        }

        impl Augment {
            /// Changes a cutout of `size` x `size` pixels at `t`, the share of the render that is done.
            pub(crate) fn apply(&self, cutout: &mut Cutout, size: usize, t: f64, rng: &mut impl Rng) {
                match self {
                    $(Self::$kind(config) => config.apply(cutout, size, t, rng),)*
                }
            }
        }
    };
}

registry! {
    Flip: flip::Config,
    Affine: affine::Config,
    Perspective: perspective::Config,
    Jitter: jitter::Config,
    Erase: erase::Config,
    Noise: noise::Config,
}
