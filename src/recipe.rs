//! Recipes: what a render is made of, as written by a person and as checked by the program.
//!
//! A [`Recipe`] is complete: every default is filled in, so that writing it out again says all that the render used.

mod check;
mod decode;
mod defaults;
mod differences;
mod draft;
mod emit;
mod hint;
mod schema;
mod stage;
mod timeline;
mod yaml;

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use check::MOST_STEPS;
pub use clip::Precision;
pub use differences::Difference;
pub use draft::PartialRecipe;
pub(crate) use draft::from_json;
pub use generators::GeneratorConfig;
pub use guidance::{Augment, Border, Distance, Select, Terms, augment, clip_guide, cutouts, terms};
pub use phantasia_core::diagnostic::{Diagnostic, DiagnosticKind, Location, RecipeError};
use phantasia_core::shorthand as forms;
pub use phantasia_core::{InvalidSchedule, Prompt, Schedule, StepOrPercent};
pub use stage::{Stage, Stages};
pub use timeline::{Edit, Restart};

use clip::EMBEDDED;

/// All that decides a picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What the picture should show, and what not. At least one.
    #[serde(deserialize_with = "forms::entries")]
    #[schemars(schema_with = "phantasia_core::schema::entries::<Prompt>")]
    pub prompts: Vec<Prompt>,
    /// Width and height in pixels.
    #[serde(default = "defaults::size", deserialize_with = "forms::size")]
    #[schemars(schema_with = "phantasia_core::schema::size")]
    pub size: [usize; 2],
    /// Optimiser steps; 0 where the latents of an autoencoder are painted, which then shows what it makes of `init`.
    #[serde(default = "defaults::steps")]
    #[schemars(range(min = 0))]
    pub steps: usize,
    /// Decides every random number of the render.
    #[serde(default)]
    pub seed: u64,
    /// What is optimised: one generator, or several, one after the other.
    #[serde(default)]
    #[schemars(with = "Option<Stages>")]
    pub generator: Stages,
    /// The CLIP models that judge, each with a weight.
    #[serde(default = "defaults::clip", deserialize_with = "forms::entries")]
    #[schemars(schema_with = "phantasia_core::schema::entries::<clip_guide::Config>")]
    pub clip: Vec<clip_guide::Config>,
    /// The views of the picture that CLIP is shown.
    #[serde(default)]
    #[schemars(with = "Option<cutouts::Config>")]
    pub cutouts: cutouts::Config,
    /// How far an image embedding is from a prompt's.
    #[serde(default)]
    pub distance: Distance,
    /// How several prompts count together.
    #[serde(default)]
    pub select: Select,
    /// What is asked of the picture beside its prompts.
    #[serde(default)]
    #[schemars(with = "Option<Terms>")]
    pub terms: Terms,
    /// A grey image: the picture changes where it is white and stays as `init` where it is black.
    #[serde(default)]
    pub mask: Option<PathBuf>,
    /// The image to start from.
    #[serde(default)]
    pub init: Option<PathBuf>,
    /// What is written while the render runs.
    #[serde(default)]
    #[schemars(with = "Option<OutputOptions>")]
    pub output: OutputOptions,
    /// What was changed while it was painted, in the order of its steps.
    #[serde(default)]
    pub timeline: Vec<Edit>,
}

/// What is written while the render runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutputOptions {
    /// Write a frame every so many steps; 0 writes none, or with `video` as many as make a video of about eight seconds.
    pub every: usize,
    /// Make a video of the frames.
    pub video: Option<VideoKind>,
    /// Frames of the video a second.
    #[schemars(range(min = 0.1, max = 120.0))]
    pub fps: f64,
    /// Write a checkpoint every so many steps, to resume from; 0 writes one at the end alone.
    pub checkpoint: usize,
}

/// Formats of videos.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VideoKind {
    /// 256 colours a frame; plays everywhere.
    Gif,
    /// H.264; needs ffmpeg.
    Mp4,
    /// Every pixel as it is, and larger than the others; plays in browsers.
    Webp,
}

/// The extension of its files.
impl fmt::Display for VideoKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gif => "gif",
            Self::Mp4 => "mp4",
            Self::Webp => "webp",
        })
    }
}

impl Recipe {
    /// A recipe of these prompts, with the default of everything else.
    pub fn new(prompts: Vec<Prompt>) -> Self {
        Self {
            prompts,
            size: defaults::size(),
            steps: defaults::steps(),
            seed: 0,
            generator: Stages::default(),
            clip: defaults::clip(),
            cutouts: cutouts::Config::default(),
            distance: Distance::default(),
            select: Select::default(),
            terms: Terms::default(),
            mask: None,
            init: None,
            output: OutputOptions::default(),
            timeline: vec![],
        }
    }
}
