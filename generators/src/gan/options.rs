//! The settings of a GAN that only some architectures have.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Class, GanError};

/// Which latents of a StyleGAN are optimised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "GanSpace")]
pub enum Space {
    /// The normal noise that its mapping network sees.
    Z,
    /// What the mapping network makes of it, one for all layers.
    W,
    /// The same, one for each layer.
    #[serde(rename = "w+")]
    WPlus,
}

/// What happens to the noise planes of a StyleGAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "GanNoise")]
pub enum NoisePlanes {
    /// They stay as they are.
    Fixed,
    /// They are optimised.
    Optimized,
}

/// What a network is made with beside its weights. Settings that are `None` or empty take what suits the architecture.
#[derive(Clone, Debug)]
pub struct NetworkOptions {
    /// Decides the noise that a network adds inside, which stays the same for all of its pictures, so that they do not flicker.
    pub seed: u64,
    /// The setting `truncation`, for networks that it changes, and not only what is drawn for them.
    pub truncation: f64,
    /// The setting `space`.
    pub space: Option<Space>,
    /// The setting `noise`.
    pub noise: Option<NoisePlanes>,
    /// The setting `classes`: how many classes a picture may be a mixture of.
    pub classes: Option<usize>,
    /// The setting `class`: the classes to start from.
    pub class: Option<Vec<Class>>,
}

/// No truncation.
impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            seed: 0,
            truncation: 1.0,
            space: None,
            noise: None,
            classes: None,
            class: None,
        }
    }
}

impl NetworkOptions {
    /// Refuses settings that an architecture does not have: all but those named.
    ///
    /// # Errors
    /// [`GanError::Option`] with the first of them.
    pub fn allow(&self, architecture: &'static str, known: &[&str]) -> Result<(), GanError> {
        let refused = self.refused(architecture, known).next();
        refused.map_or(Ok(()), |(_, error)| Err(error))
    }

    /// The settings that are given and that an architecture does not have, all but those named, each with the error that says so.
    pub(super) fn refused(
        &self,
        architecture: &'static str,
        known: &[&str],
    ) -> impl Iterator<Item = (&'static str, GanError)> {
        let given = [
            ("space", self.space.is_some(), "StyleGANs"),
            ("noise", self.noise.is_some(), "StyleGAN2"),
            ("classes", self.classes.is_some(), "BigGAN"),
            (
                "class",
                self.class.is_some(),
                "BigGAN and of conditional StyleGANs",
            ),
        ];
        let refused =
            move |&(key, is_given, _): &(&str, bool, &str)| is_given && !known.contains(&key);
        given
            .into_iter()
            .filter(refused)
            .map(move |(key, _, only)| {
                let error = GanError::Option {
                    key,
                    architecture,
                    only,
                };
                (key, error)
            })
    }
}
