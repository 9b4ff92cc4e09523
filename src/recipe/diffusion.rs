//! What a recipe may tell guided diffusion and noise optimisation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Schedule, StepOrPercent, defaults};

/// Guided diffusion: a sampler walks from noise to a picture, and the prompts bend its way. The steps of the render are the sampler's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DiffusionOptions {
    /// A model of diffusers, unconditional or a Stable Diffusion: a folder, or a repository's name.
    pub model: String,
    /// The text that a Stable Diffusion looks at; null takes the texts of the prompts whose weight is above 0, as they are when it begins.
    pub prompt: Option<String>,
    /// The text that it is led away from; null takes the texts of the prompts whose weight is below 0.
    pub negative_prompt: Option<String>,
    /// How far it is led from the one to the other (classifier-free guidance): 1 looks at the wanted text alone and takes half the time, null
    /// is 7.5.
    #[schemars(range(min = 0, max = 100))]
    pub cfg: Option<f64>,
    /// The autoencoder of a Stable Diffusion instead of its own: a folder, a file, or the name of a known model such as `madebyollin/taesd`.
    pub vae: Option<String>,
    /// The rule of a step.
    pub sampler: DiffusionSampler,
    /// Which noise levels are stopped at; null takes the model's own where that is `trailing` (SD-Turbo), else the sampler's:
    /// `leading` for `ddim`, `linspace` for the others.
    pub spacing: Option<DiffusionSpacing>,
    /// How much new noise a step brings (`ddim`, 0 where it is null, and `euler_ancestral`, 1 where it is null).
    #[schemars(range(min = 0, max = 1))]
    pub eta: Option<f64>,
    /// How many noise levels are left out at the noisy end, beside the steps that are made: a number, or a share of all levels. Null leaves
    /// out none, and half of them where there is a picture to start from, so that something of it is kept.
    pub skip: Option<StepOrPercent>,
    /// Whether the gradient goes through the network.
    pub guidance: DiffusionGuidance,
    /// The factor of the gradient.
    pub scale: Schedule,
    /// The largest root mean square of the gradient after that; null has no bound.
    pub clamp: Option<f64>,
    /// Show CLIP a mixture of the clean and the noisy picture, that goes from the one to the other as the noise goes.
    pub blend: bool,
    /// Hold what the network predicts to the range of a picture; null does what the model's scheduler says.
    pub clip_sample: Option<bool>,
    /// Width and height that the network works at; null is the picture's size. Models are at their best at the size that they were trained at.
    pub resolution: Option<[usize; 2]>,
    /// Keep less in memory for the gradient through the network, and compute it again: about a third slower.
    pub gradient_checkpointing: bool,
}

/// The rule of a sampler's step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiffusionSampler {
    /// Denoising diffusion implicit models (Song et al. 2021).
    Ddim,
    /// Euler's method.
    Euler,
    /// Euler's method with new noise at every step.
    EulerAncestral,
    /// DPM-Solver++(2M): second order, the best in few steps.
    #[serde(rename = "dpmpp_2m")]
    DpmPlusPlus2M,
}

/// Which noise levels a sampler stops at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiffusionSpacing {
    /// Equal steps of the model's time, counted from the clean end.
    Leading,
    /// Equal steps of the model's time, counted from the noisy end.
    Trailing,
    /// Equal steps of the model's time from one end to the other.
    Linspace,
    /// Equal steps of the seventh root of the noise level.
    Karras,
}

/// Whether guidance goes through the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiffusionGuidance {
    /// The predicted picture's own gradient: no backward pass through the network.
    Around,
    /// The gradient of the noisy picture, through the network.
    Through,
}

impl Default for DiffusionOptions {
    fn default() -> Self {
        Self {
            model: String::new(),
            prompt: None,
            negative_prompt: None,
            cfg: None,
            vae: None,
            sampler: DiffusionSampler::Ddim,
            spacing: None,
            eta: None,
            skip: None,
            guidance: DiffusionGuidance::Through,
            scale: defaults::guidance_scale(),
            clamp: Some(0.05),
            blend: false,
            clip_sample: None,
            resolution: None,
            gradient_checkpointing: false,
        }
    }
}

/// Noise optimisation (ReNO): the noise that a one-step Stable Diffusion makes a picture of is what is painted with, and the best picture is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NoiseOptions {
    /// A Stable Diffusion that needs one step, such as `stabilityai/sd-turbo`: a folder, or a repository's name.
    pub model: String,
    /// The text that it looks at; null takes the texts of the prompts whose weight is above 0, as they are when it begins.
    pub prompt: Option<String>,
    /// The text that it is led away from; null takes the texts of the prompts whose weight is below 0. Read where `cfg` is not 1.
    pub negative_prompt: Option<String>,
    /// How far it is led from the one to the other (classifier-free guidance): models of one step are made for 1.
    #[schemars(range(min = 0, max = 100))]
    pub cfg: f64,
    /// The autoencoder instead of its own: a folder, a file, or the name of a known model such as `madebyollin/taesd`.
    pub vae: Option<String>,
    /// The learning rate, of gradient descent with Nesterov's momentum.
    pub lr: Schedule,
    /// The share of the last step that goes on.
    #[schemars(range(min = 0, max = 1))]
    pub momentum: f64,
    /// The largest length of the gradient.
    pub clip: f64,
    /// How much the noise is held to the length that noise has.
    pub regularize: f64,
    /// Width and height that the network works at; null is the picture's size. Models are at their best at the size that they were trained at.
    pub resolution: Option<[usize; 2]>,
    /// Keep less in memory for the gradient through the network, and compute it again: about a third slower.
    pub gradient_checkpointing: bool,
}

impl Default for NoiseOptions {
    fn default() -> Self {
        Self {
            model: "stabilityai/sd-turbo".to_owned(),
            prompt: None,
            negative_prompt: None,
            cfg: 1.0,
            vae: None,
            lr: Schedule::from(5.0),
            momentum: 0.9,
            clip: 0.1,
            regularize: 0.01,
            resolution: None,
            gradient_checkpointing: true,
        }
    }
}
