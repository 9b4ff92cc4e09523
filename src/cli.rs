//! What may be typed on the command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// CLIP-guided generative art: write what you want to see, and the gradient paints it.
#[derive(Debug, Parser)]
#[command(name = "phantasia", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Paint a picture from a recipe
    Render(RenderArgs),
    /// Go on with a render that was stopped
    Resume(ResumeArgs),
    /// Paint in a window in which the prompts can be edited
    Live(RenderArgs),
    /// Check, describe or begin a recipe
    #[command(subcommand)]
    Recipe(RecipeCommand),
    /// The CLIP models that are known by name
    Models(ModelsArgs),
    /// Look at this machine and paint a test picture
    Doctor(DoctorArgs),
}

/// Arguments of `render`.
#[derive(Clone, Debug, Args)]
pub struct RenderArgs {
    /// A recipe (.yaml), or a picture that Phantasia wrote (.png, its recipe is in its metadata)
    pub recipe: PathBuf,
    /// Change one value of the recipe, such as generator.lr=0.1 or prompts.0.weight=2; relative paths start from the working folder
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Paint this instead of the recipe's prompts; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub prompt: Vec<String>,
    /// The seed of every random number
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Optimiser steps
    #[arg(long, value_name = "N")]
    pub steps: Option<usize>,
    /// Width and height in pixels
    #[arg(long, value_name = "WxH")]
    pub size: Option<String>,
    /// auto, cpu, cuda, cuda:N or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// Where run folders go
    #[arg(long, value_name = "DIR", default_value = "outputs")]
    pub out: PathBuf,
    /// Apply changes of the recipe's prompts and terms when its file changes
    #[arg(long)]
    pub watch: bool,
    /// How it is watched and talked to.
    #[command(flatten)]
    pub company: CompanyArgs,
}

/// How a render is watched and talked to while it runs.
#[derive(Clone, Debug, Args)]
pub struct CompanyArgs {
    /// Where the picture shows while it is painted; `live` takes the window, the others none
    #[arg(long, value_enum, value_name = "WHERE")]
    pub preview: Option<PreviewChoice>,
    /// Over how many steps changed prompts fade in and the old ones out
    #[arg(long, value_name = "STEPS", default_value_t = 20)]
    pub fade: usize,
    /// `-` reads commands from standard input while it paints, a JSON object a line, such as {"set_prompts":["a cat"]},
    /// {"pause":true}, {"snapshot":true}, {"undo":true}, {"lr":0.5}, {"restart":"image"}, {"stop":true}
    #[arg(long, value_name = "-", value_parser = ["-"])]
    pub control: Option<String>,
    /// Print one JSON object about the run on standard output
    #[arg(long)]
    pub json: bool,
    /// Show no progress
    #[arg(long)]
    pub quiet: bool,
}

/// Where the picture shows while it is painted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PreviewChoice {
    /// A window where there is a display, else the terminal
    Auto,
    /// A window
    Window,
    /// The terminal
    Terminal,
    /// Nowhere
    None,
}

/// Arguments of `resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// A run's folder, such as outputs/first-light-001
    pub run: PathBuf,
    /// Go on to this many steps in all
    #[arg(long, value_name = "N")]
    pub steps: Option<usize>,
    /// Paint this from here on instead of the run's prompts; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub prompt: Vec<String>,
    /// Go on from the checkpoint before the last one
    #[arg(long)]
    pub previous: bool,
    /// auto, cpu, cuda, cuda:N or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// How it is watched and talked to.
    #[command(flatten)]
    pub company: CompanyArgs,
}

/// Commands on recipes.
#[derive(Debug, Subcommand)]
pub enum RecipeCommand {
    /// Tell all that is wrong with recipes
    Check {
        /// The recipes
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema of recipes, for editors
    Schema,
    /// Print a commented recipe to start from
    New {
        /// The kind of its generator
        kind: RecipeKind,
    },
}

/// Kinds of recipes to start from.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum RecipeKind {
    /// An image pyramid
    Pyramid,
    /// A guided diffusion model
    Diffusion,
}

/// Arguments of `models`.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    /// What to do; `list` if nothing is said
    #[command(subcommand)]
    pub command: Option<ModelsCommand>,
}

/// Commands on models.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ModelsCommand {
    /// Which models are known, and where they are on this machine
    List,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// Where to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The best that there is.
    Auto,
    /// The processor.
    Cpu,
    /// An NVIDIA GPU, by number.
    Cuda(usize),
    /// The GPU of a Mac.
    Metal,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|number| number.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| "expected auto, cpu, cuda, cuda:N or metal".to_owned()),
        }
    }
}
