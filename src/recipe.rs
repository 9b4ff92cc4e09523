//! Recipes: what a render is made of, as written by a person and as checked by the program.
//!
//! A [`Recipe`] is complete: every default is filled in, so that writing it out again says all that the render used.

mod cellular;
mod check;
mod critics;
mod decode;
mod defaults;
mod differences;
mod diffusion;
mod draft;
mod emit;
mod error;
mod expression;
mod forms;
mod generator;
mod hint;
mod number;
mod pixels;
mod schema;
mod stage;
mod timeline;
mod yaml;

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use cellular::{CellularOptions, CellularPadding};
pub use check::MOST_STEPS;
pub use critics::{AestheticOptions, ClipOptions, CutoutChanges, Precision};
pub use differences::Difference;
pub use diffusion::{
    DiffusionGuidance, DiffusionOptions, DiffusionSampler, DiffusionSpacing, NoiseOptions,
};
pub use draft::{Draft, prompts_from_json};
pub use error::{Fault, Place, Problem, RecipeError};
pub use generator::{
    AllSides, Filter, GeneratorOptions, LatentOptions, Optimizer, PyramidOptions, Sides, Squash,
    VqganOptions, VqganStart,
};
pub use number::{InvalidNumber, Moment, Number};
pub use pixels::{Color, FftOptions, Palette, PixelsOptions};
pub use stage::{Stage, Stages};
pub use timeline::{Edit, Restart};

/// The name of the CLIP that is part of the program.
const EMBEDDED: &str = "embedded";

/// All that decides a picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What the picture should show, and what not. At least one.
    #[serde(deserialize_with = "forms::entries")]
    #[schemars(schema_with = "schema::prompts")]
    pub prompts: Vec<Prompt>,
    /// Width and height in pixels.
    #[serde(default = "defaults::size", deserialize_with = "forms::size")]
    #[schemars(schema_with = "schema::size")]
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
    #[schemars(schema_with = "schema::clip")]
    pub clip: Vec<ClipOptions>,
    /// The views of the picture that CLIP is shown.
    #[serde(default)]
    #[schemars(with = "Option<CutoutOptions>")]
    pub cutouts: CutoutOptions,
    /// How far an image embedding is from a prompt's.
    #[serde(default)]
    pub distance: Distance,
    /// How several prompts count together.
    #[serde(default)]
    pub select: Select,
    /// What is asked of the picture beside its prompts.
    #[serde(default)]
    #[schemars(with = "Option<TermOptions>")]
    pub terms: TermOptions,
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

/// One prompt: a text or an image, and when and how much it counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// The words. Exactly one of `text` and `image` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// An image to come close to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<PathBuf>,
    /// How much it counts; below 0 the picture is pushed away from it.
    #[serde(default = "defaults::one")]
    pub weight: Number,
    /// The distance at which the prompt is content and pulls no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<f64>,
    /// The step at which it begins to count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Moment>,
    /// The step at which it has ceased to count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Moment>,
    /// Over how many steps it comes in after `from` and goes out before `until`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fade: Option<Moment>,
}

/// The views of the picture that CLIP is shown at every step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CutoutOptions {
    /// How many a step and image tower; null takes 16, and 2 for inputs under 128 pixels.
    pub count: Option<Number>,
    /// Skews the sizes: above 1 towards `min`, below 1 towards `max`.
    pub power: Number,
    /// The smallest side as a share of the picture's shorter one; null takes the CLIP's input size, and 0.75 for inputs under 128 pixels.
    pub min: Option<Number>,
    /// The largest side likewise; above 1 it reaches over the edge.
    pub max: Number,
    /// How far over the edge a cutout may lie, as a share of its side.
    pub margin: Number,
    /// How many of `count` show the whole picture.
    pub overview: Number,
    /// What is seen beyond the edge.
    pub border: Border,
    /// What is done to each cutout.
    pub augment: Vec<Augment>,
}

/// What a cutout sees beyond the picture's edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Border {
    /// The nearest pixel of the edge.
    Edge,
    /// The picture, mirrored.
    Reflect,
    /// Black.
    Zero,
    /// The picture again, so that it tiles.
    Wrap,
}

/// What is done to a cutout; the bare word takes the defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schemars(transform = schema::or_bare_words)]
pub enum Augment {
    /// Mirrored left to right with probability `p`.
    Flip {
        /// Probability, 0..=1.
        #[serde(default = "defaults::flip_p")]
        #[schemars(range(min = 0, max = 1))]
        p: f64,
    },
    /// Turned by up to `degrees` and shifted by up to `translate` of the side, with probability `p`.
    Affine {
        /// Largest angle.
        #[serde(default = "defaults::affine_degrees")]
        degrees: Number,
        /// Largest shift as a share of the side.
        #[serde(default = "defaults::affine_translate")]
        translate: Number,
        /// Probability, 0..=1.
        #[serde(default = "defaults::affine_p")]
        #[schemars(range(min = 0, max = 1))]
        p: f64,
    },
    /// Corners moved inwards by up to `strength` of half the side, with probability `p`.
    Perspective {
        /// 0..=1
        #[serde(default = "defaults::perspective_strength")]
        strength: Number,
        /// Probability, 0..=1.
        #[serde(default = "defaults::perspective_p")]
        #[schemars(range(min = 0, max = 1))]
        p: f64,
    },
    /// Hue and saturation (and brightness and contrast) changed at random, with probability `p`.
    Jitter {
        /// Largest turn of the hue as a share of the circle.
        #[serde(default = "defaults::jitter")]
        hue: Number,
        /// Largest change of the saturation, as a share of 1.
        #[serde(default = "defaults::jitter")]
        saturation: Number,
        /// Largest change of the brightness, as a share of 1.
        #[serde(default = "defaults::zero")]
        brightness: Number,
        /// Largest change of the contrast, as a share of 1.
        #[serde(default = "defaults::zero")]
        contrast: Number,
        /// Probability, 0..=1.
        #[serde(default = "defaults::jitter_p")]
        #[schemars(range(min = 0, max = 1))]
        p: f64,
    },
    /// A rectangle of up to `area` of the cutout made grey, with probability `p`.
    Erase {
        /// Largest share of the cutout.
        #[serde(default = "defaults::erase_area")]
        area: Number,
        /// Probability, 0..=1.
        #[serde(default = "defaults::erase_p")]
        #[schemars(range(min = 0, max = 1))]
        p: f64,
    },
    /// White noise, its standard deviation uniform in 0..=`strength` for each cutout.
    Noise {
        /// Largest standard deviation.
        #[serde(default = "defaults::noise_strength")]
        strength: Number,
    },
}

/// How far an image embedding is from a prompt's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Distance {
    /// 1 - cos
    Cosine,
    /// 2 asin(|x - y| / 2)^2, that is half the squared angle.
    #[default]
    Spherical,
}

/// How several prompts count together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// All, each with its weight.
    #[default]
    All,
    /// The weighted mean of their embeddings, compared once.
    Mix,
    /// Each cutout heeds the prompt that it is closest to.
    Best,
    /// Each cutout heeds the prompt that it is farthest from.
    Worst,
}

/// What is asked of the picture beside its prompts. A weight of 0 leaves the term out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TermOptions {
    /// Weight of the mean absolute difference of neighbouring pixels.
    pub total_variation: Number,
    /// Weight of the mean squared distance by which values leave 0..=1.
    pub range: Number,
    /// Weight of the mean distance of a pixel's channels from their mean.
    pub saturation: Number,
    /// The mean that the picture should have, 0..=1.
    pub mean: Option<Number>,
    /// The standard deviation that each channel of the picture should have over all pixels, about its own mean; an even colour has 0.
    pub contrast: Option<Number>,
    /// How beautiful the picture should be, by a head on a CLIP's embeddings.
    #[serde(deserialize_with = "critics::aesthetic")]
    #[schemars(schema_with = "schema::aesthetic")]
    pub aesthetic: Option<Box<AestheticOptions>>,
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

impl Prompt {
    /// A text of weight 1, over the whole render.
    pub fn new(text: &str) -> Self {
        Self {
            text: Some(text.to_owned()),
            image: None,
            weight: defaults::one(),
            stop: None,
            from: None,
            until: None,
            fade: None,
        }
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
            cutouts: CutoutOptions::default(),
            distance: Distance::default(),
            select: Select::default(),
            terms: TermOptions::default(),
            mask: None,
            init: None,
            output: OutputOptions::default(),
            timeline: vec![],
        }
    }
}
