//! Arguments that several commands have, and how values are parsed.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use candle_core::Device;
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use phantasia::recipe::{MAX_STEPS, PartialRecipe, Prompt, Recipe, RecipeError, Schedule};
use phantasia::session::SessionOptions;
use phantasia_core::weighted;
use serde_json::Value;

/// Where to compute, and whether models may be downloaded for it.
#[derive(Clone, Debug, Args)]
pub struct ModelArgs {
    /// Where the models run
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Download the models that are not on this machine
    #[arg(long)]
    pub yes: bool,
}

/// How a session computes.
#[derive(Clone, Debug, Args)]
pub struct SessionArgs {
    /// Models
    #[command(flatten)]
    pub models: ModelArgs,
    /// Memory in MiB, roughly, for the cutouts that are processed at once; less is slower, and changes the picture only by rounding
    #[arg(long, value_name = "MIB", allow_negative_numbers = true, value_parser = positive)]
    pub memory: Option<usize>,
}

impl SessionArgs {
    /// The options of the session.
    pub fn options(&self) -> SessionOptions {
        let mut options = SessionOptions::default();
        if let Some(mebibytes) = self.memory {
            options.memory = mebibytes.saturating_mul(1 << 20);
        }
        options
    }
}

/// Changes of a recipe's values.
#[derive(Clone, Debug, Args)]
pub struct RecipeChanges {
    /// Change one value of the recipe, such as generator.lr=0.1 or prompts.0.weight=2; relative paths start from the working folder
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Optimiser steps; a stop in the recipe's timeline is ignored
    #[arg(long, value_name = "N", value_parser = steps, allow_negative_numbers = true)]
    steps: Option<usize>,
    /// Width and height in pixels
    #[arg(long, value_name = "WxH")]
    size: Option<String>,
}

impl RecipeChanges {
    /// Makes the changes in a recipe that is not yet checked.
    pub fn apply(&self, partial: &mut PartialRecipe) -> Result<(), RecipeError> {
        for assignment in &self.set {
            partial.set(assignment)?;
        }
        if let Some(steps) = self.steps {
            partial.replace("steps", &steps.into(), &format!("--steps {steps}"))?;
        }
        if let Some(size) = &self.size {
            partial.replace("size", &size.clone().into(), &format!("--size {size}"))?;
        }
        Ok(())
    }

    /// The recipe, and the step of its timeline's stop if that is ignored because the changes set a number of steps.
    pub fn finish(&self, partial: &PartialRecipe) -> Result<(Recipe, Option<usize>), RecipeError> {
        let recipe = partial.finish()?;
        let steps_asked = self.steps.is_some()
            || (self.set.iter())
                .filter_map(|assignment| assignment.split_once('='))
                .any(|(path, _)| path.trim() == "steps");
        Ok(match recipe.stops_at() {
            Some(stop) if steps_asked => (recipe.without_stops(usize::MAX), Some(stop)),
            _ => (recipe, None),
        })
    }
}

/// Where to compute.
#[derive(Clone, Debug, Args)]
pub struct DeviceArgs {
    /// auto, cpu, cuda, cuda:N or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: DeviceChoice,
}

impl DeviceArgs {
    /// The device that was chosen.
    pub fn choice(&self) -> DeviceChoice {
        self.device
    }

    /// Opens the device; its name is what `--device` would call it.
    pub fn open(&self) -> Result<(Device, String)> {
        self.device.open()
    }
}

/// A choice of `--device`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU that can be opened, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU, by number.
    Cuda(usize),
    /// The GPU of a Mac.
    Metal,
}

impl DeviceChoice {
    /// Opens the device; its name is what `--device` would call it.
    pub fn open(self) -> Result<(Device, String)> {
        let unbuilt = |name: &str, feature: &str| {
            anyhow!(
                "this program was built without {name}: build it with `--features {feature}`, or take `--device cpu`"
            )
        };
        match self {
            Self::Cpu => Ok((Device::Cpu, "cpu".to_owned())),
            Self::Cuda(_) if !cfg!(feature = "cuda") => Err(unbuilt("CUDA", "cuda")),
            Self::Metal if !cfg!(feature = "metal") => Err(unbuilt("Metal", "metal")),
            Self::Cuda(number) => {
                let name = format!("cuda:{number}");
                let device = Device::new_cuda(number);
                Ok((
                    device.with_context(|| format!("cannot open the GPU {name}"))?,
                    name,
                ))
            }
            Self::Metal => {
                let device = Device::new_metal(0).context("cannot open the GPU through Metal")?;
                Ok((device, "metal".to_owned()))
            }
            Self::Auto => {
                (Self::Cuda(0).open().or_else(|_| Self::Metal.open())).or_else(|_| Self::Cpu.open())
            }
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal),
            _ => (text.strip_prefix("cuda:"))
                .and_then(|number| number.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| "expected auto, cpu, cuda, cuda:N or metal".to_owned()),
        }
    }
}

/// A text to paint, and its weight.
#[derive(Clone, Debug)]
pub struct PromptArg {
    /// As it was typed, for messages.
    pub typed: String,
    /// The prompt, over the whole render.
    pub prompt: Prompt,
}

impl FromStr for PromptArg {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let (text, weight) = weighted(typed)?;
        let mut prompt = Prompt::new(text);
        prompt.weight = Schedule::from(weight);
        let typed = typed.to_owned();
        Ok(Self { typed, prompt })
    }
}

/// A choice between values, each with its name and its help.
pub fn one_of<T: Copy + Send + Sync + 'static, const N: usize>(
    choices: [(&'static str, &'static str, T); N],
) -> impl TypedValueParser<Value = T> {
    let names = choices.map(|(name, help, _)| PossibleValue::new(name).help(help));
    PossibleValuesParser::new(names).try_map(move |typed| {
        let choice = choices.iter().find(|(name, ..)| *name == typed);
        choice.map(|(.., value)| *value).ok_or("unknown value")
    })
}

/// Steps of a render.
pub fn steps(text: &str) -> Result<usize, String> {
    whole_number(text, 0)
}

/// Steps of a render, at least one.
pub fn positive_steps(text: &str) -> Result<usize, String> {
    whole_number(text, 1)
}

fn whole_number(text: &str, least: usize) -> Result<usize, String> {
    (text.parse().ok())
        .filter(|steps| (least..=MAX_STEPS).contains(steps))
        .ok_or_else(|| format!("expected a whole number from {least} to {MAX_STEPS}, in digits"))
}

/// A seed as a recipe may have it.
pub fn seed(text: &str) -> Result<Value, String> {
    if text == "random" {
        return Ok(text.into());
    }
    let number = text.parse::<u64>().map(Value::from);
    number.map_err(|_| {
        format!(
            "expected a whole number from 0 to {}, in digits, or `random`",
            u64::MAX
        )
    })
}

/// A whole number from 1.
pub fn positive(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "expected a whole number from 1".to_owned())
}

/// The file name of a contact sheet.
pub fn sheet(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    match extension.to_str() {
        Some("png" | "html" | "htm") => Ok(path),
        _ => Err("expected a file that ends in .png or .html".to_owned()),
    }
}
