//! A diffusion model from the files that diffusers writes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use weights::checkpoint::Checkpoint;
use weights::models::{ModelKind, file_in};

use super::denoise::{DiscreteDenoiser, Prediction};
use super::error::{Loaded, ModelError};
use super::load_options::LoadOptions;
use super::noise_schedule::{Betas, NoiseSchedule, Spacing};
use super::unet::{CONDITIONAL, MARK, UNCONDITIONAL, UNet, UNetConfig};

/// A `scheduler_config.json`; missing keys have the defaults of diffusers' `DDPMScheduler`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default)]
pub struct SchedulerConfig {
    /// What diffusers calls the scheduler.
    #[serde(rename = "_class_name")]
    pub class: String,
    /// How many times the network was trained at.
    pub num_train_timesteps: usize,
    /// The first beta.
    pub beta_start: f64,
    /// The last beta.
    pub beta_end: f64,
    /// `linear`, `scaled_linear`, `squaredcos_cap_v2` or `sigmoid`.
    pub beta_schedule: String,
    /// The betas themselves.
    pub trained_betas: Option<Vec<f64>>,
    /// `epsilon`, `v_prediction` or `sample`.
    pub prediction_type: String,
    /// Whether predicted images are clamped to the range.
    pub clip_sample: bool,
    /// The range: -this..=this.
    pub clip_sample_range: f64,
    /// Added to the times of the leading spacing.
    pub steps_offset: usize,
    /// `leading`, `trailing` or `linspace`.
    pub timestep_spacing: Option<Spacing>,
    /// Betas changed so that the last level is pure noise; not read.
    pub rescale_betas_zero_snr: bool,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            class: String::new(),
            num_train_timesteps: 1000,
            beta_start: 1e-4,
            beta_end: 0.02,
            beta_schedule: "linear".to_owned(),
            trained_betas: None,
            prediction_type: "epsilon".to_owned(),
            clip_sample: true,
            clip_sample_range: 1.0,
            steps_offset: 0,
            timestep_spacing: None,
            rescale_betas_zero_snr: false,
        }
    }
}

impl SchedulerConfig {
    /// The noise levels.
    pub fn levels(&self) -> Result<NoiseSchedule, ModelError> {
        const OTHERS: [&str; 5] = ["ScoreSde", "KarrasVe", "EDM", "Flow", "CM"];
        if OTHERS.iter().any(|other| self.class.starts_with(other)) {
            return Err(ModelError::Unsupported(format!(
                "the scheduler `{}`; those of discrete times and betas are read, such as `DDPMScheduler`",
                self.class
            )));
        }
        if self.rescale_betas_zero_snr {
            let what = "`rescale_betas_zero_snr`, that is a last level without any signal";
            return Err(ModelError::Unsupported(what.to_owned()));
        }
        let (start, end) = (self.beta_start, self.beta_end);
        let betas = match (&self.trained_betas, self.beta_schedule.as_str()) {
            (Some(betas), _) => Betas::List(betas.clone()),
            (None, "linear") => Betas::Linear { start, end },
            (None, "scaled_linear") => Betas::ScaledLinear { start, end },
            (None, "squaredcos_cap_v2") => Betas::SquaredCosine,
            (None, "sigmoid") => Betas::Sigmoid { start, end },
            (None, other) => {
                return Err(ModelError::Unsupported(format!(
                    "the `beta_schedule` `{other}`; `linear`, `scaled_linear`, `squaredcos_cap_v2` and `sigmoid` are read"
                )));
            }
        };
        let levels = NoiseSchedule::new(&betas, self.num_train_timesteps, self.steps_offset)?;
        Ok(levels.spaced(self.timestep_spacing))
    }

    /// What the network predicts.
    pub fn prediction(&self) -> Result<Prediction, ModelError> {
        Ok(match self.prediction_type.as_str() {
            "epsilon" => Prediction::Epsilon,
            "v_prediction" => Prediction::Velocity,
            "sample" => Prediction::Sample,
            other => {
                return Err(ModelError::Unsupported(format!(
                    "the `prediction_type` `{other}`; `epsilon`, `v_prediction` and `sample` are read"
                )));
            }
        })
    }
}

/// Loads an unconditional model from a folder: a pipeline of diffusers (`unet/` and `scheduler/`), or one folder that holds
/// `config.json`, `diffusion_pytorch_model.safetensors` and `scheduler_config.json`. Without the last the noise levels are those of
/// Ho et al. 2020.
///
/// # Errors
/// Where a file is missing or broken, or the model is of another kind.
pub fn load(
    folder: &Path,
    options: LoadOptions,
    device: &Device,
) -> Result<DiscreteDenoiser, ModelError> {
    let (path, class) = class(folder)?;
    if class != UNCONDITIONAL {
        return Err(ModelError::Class { path, found: class });
    }
    let scheduler = scheduler(folder)?;
    let (levels, prediction) = (scheduler.levels()?, scheduler.prediction()?);
    let range = scheduler.clip_sample_range;
    let clip = options
        .clip
        .unwrap_or(scheduler.clip_sample)
        .then_some(range);
    if clip.is_some_and(|range| range.is_nan() || range <= 0.0) {
        let what = format!("a `clip_sample_range` of {range}");
        return Err(ModelError::Unsupported(what));
    }
    Ok(DiscreteDenoiser {
        network: Arc::new(network(folder, options, device)?),
        levels,
        prediction,
        clip,
    })
}

fn missing(folder: &Path, wanted: &'static str, part: &'static str) -> ModelError {
    ModelError::Missing {
        folder: folder.to_owned(),
        wanted,
        part,
    }
}

/// The names of a network's weights.
fn names() -> &'static [String] {
    &ModelKind::Diffusion.weights().names
}

/// Where the network is: in the folder `unet` of a pipeline, whose own config.json is not the network's, or at the root. The place that has
/// weights wins, since there may be an incomplete `unet` next to complete files at the root.
fn place(folder: &Path) -> PathBuf {
    let places = [folder.join("unet"), folder.to_owned()];
    let holding = |names: &[String]| places.iter().find(|place| file_in(place, names).is_some());
    let found = holding(names()).or_else(|| holding(&["config.json".to_owned()]));
    found.unwrap_or(&places[1]).clone()
}

/// The network's configuration and its class.
fn class(folder: &Path) -> Loaded<(PathBuf, String)> {
    let config = place(folder).join("config.json");
    if !config.is_file() {
        return Err(missing(folder, "config.json", "unet"));
    }
    let class: Class = json(&config)?;
    Ok((config, class.name))
}

/// Whether a folder holds a model that is conditioned on a text, that is a Stable Diffusion.
///
/// # Errors
/// Where it holds no diffusion model, or one of a class that is not read.
pub fn is_conditional(folder: &Path) -> Result<bool, ModelError> {
    let (path, class) = class(folder)?;
    match class.as_str() {
        CONDITIONAL => Ok(true),
        UNCONDITIONAL => Ok(false),
        _ => Err(ModelError::Class { path, found: class }),
    }
}

/// The scheduler's settings; where a folder has none, those of Ho et al. 2020.
pub(super) fn scheduler(folder: &Path) -> Loaded<SchedulerConfig> {
    let path = file_in(
        folder,
        ["scheduler/scheduler_config.json", "scheduler_config.json"],
    );
    path.map_or_else(|| Ok(SchedulerConfig::default()), |path| json(&path))
}

/// The network of either class.
pub(super) fn network(folder: &Path, options: LoadOptions, device: &Device) -> Loaded<UNet> {
    let place = place(folder);
    let Some(weights) = file_in(&place, names()) else {
        return Err(missing(
            folder,
            "diffusion_pytorch_model.safetensors",
            "unet",
        ));
    };
    let path = place.join("config.json");
    let config =
        UNetConfig::parse(&text(&path)?).map_err(|source| ModelError::Json { path, source })?;
    let mut checkpoint = Checkpoint::open(&weights)?;
    checkpoint.locate(&[MARK])?;
    UNet::new(config, &checkpoint, device, options)
}

/// What every configuration of diffusers begins with.
#[derive(Deserialize)]
#[serde(default)]
struct Class {
    #[serde(rename = "_class_name")]
    name: String,
}

impl Default for Class {
    fn default() -> Self {
        Self {
            name: "model that does not say what it is".to_owned(),
        }
    }
}

fn text(path: &Path) -> Loaded<String> {
    fs::read_to_string(path).map_err(|source| ModelError::Read {
        path: path.to_owned(),
        source,
    })
}

fn json<T: DeserializeOwned>(path: &Path) -> Loaded<T> {
    serde_json::from_str(&text(path)?).map_err(|source| ModelError::Json {
        path: path.to_owned(),
        source,
    })
}
