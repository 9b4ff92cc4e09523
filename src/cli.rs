//! What may be typed on the command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use phantasia::aesthetic;
use phantasia::clip::ClipActivation;
use phantasia::load::EMBEDDED;
use phantasia::prompt::weighted;
use phantasia::rank::query::Query;
use phantasia::recipe::MOST_STEPS;

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
    /// Order pictures by how well they fit prompts, best first
    Rerank(RerankArgs),
    /// How well each picture fits prompts, in the order in which they are given
    Score(ScoreArgs),
    /// Which of several labels each picture fits best
    Classify(ClassifyArgs),
    /// Find pictures in a folder by words or by a picture
    Search(SearchArgs),
    /// Grow a pattern from a rule that a render with a cellular automaton left
    Grow(GrowArgs),
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
    /// Paint this instead of the recipe's prompts; `TEXT::WEIGHT` gives it a weight, below 0 to push the picture away from it. May be given
    /// several times
    #[arg(long, value_name = "TEXT[::WEIGHT]", value_parser = PromptArg::parse, allow_hyphen_values = true)]
    pub prompt: Vec<PromptArg>,
    /// The seed of every random number
    #[arg(long, value_name = "N", value_parser = seed, allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Optimiser steps; a stop in the recipe's timeline is ignored
    #[arg(long, value_name = "N", value_parser = steps, allow_negative_numbers = true)]
    pub steps: Option<usize>,
    /// Width and height in pixels
    #[arg(long, value_name = "WxH")]
    pub size: Option<String>,
    /// auto, cpu, cuda, cuda:N or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// About how many MiB the cutouts that are worked on at once may take; less is slower, and changes the picture only by rounding
    #[arg(long, value_name = "MIB", allow_negative_numbers = true, value_parser = positive, conflicts_with = "candidates")]
    pub memory: Option<usize>,
    /// Where run folders go
    #[arg(long, value_name = "DIR", default_value = "outputs")]
    pub out: PathBuf,
    /// Paint this many seeds, from the recipe's own on, and let a judge order them
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = positive, conflicts_with_all = ["watch", "control", "preview", "hold"])]
    pub candidates: Option<usize>,
    /// Of the candidates, paint this many to the end: after each round the judge drops the worse half. All of them, if it is not said
    #[arg(long, value_name = "K", allow_negative_numbers = true, value_parser = positive, requires = "candidates")]
    pub keep: Option<usize>,
    /// The CLIP that judges the candidates; the recipe's own, if it is not said. May be given several times
    #[arg(long, value_name = "MODEL", requires = "candidates")]
    pub judge: Vec<String>,
    /// quick_gelu or gelu: the nonlinearity of the CLIPs of --judge, overriding their files
    #[arg(long, value_name = "NAME", requires = "judge")]
    pub activation: Option<ClipActivation>,
    /// Download the models that are not on this machine
    #[arg(long)]
    pub yes: bool,
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
    #[arg(long, value_name = "STEPS", default_value_t = 20, value_parser = steps, allow_negative_numbers = true)]
    pub fade: usize,
    /// After the last step, an edit continues painting for its fade plus this many steps
    #[arg(long, value_name = "STEPS", default_value_t = 50, value_parser = more_steps, allow_negative_numbers = true)]
    pub extend: usize,
    /// Wait for edits after the last step, from --control (until its input ends) or from --watch; a window always waits.
    /// {"stop":true} and Ctrl-C end the wait
    #[arg(long)]
    pub hold: bool,
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
    #[arg(long, value_name = "N", value_parser = steps, allow_negative_numbers = true)]
    pub steps: Option<usize>,
    /// Paint this from here on instead of the run's prompts, with weights as in `render`; may be given several times
    #[arg(long, value_name = "TEXT[::WEIGHT]", value_parser = PromptArg::parse, allow_hyphen_values = true)]
    pub prompt: Vec<PromptArg>,
    /// Download the models that are not on this machine
    #[arg(long)]
    pub yes: bool,
    /// Go on from the checkpoint before the last one
    #[arg(long)]
    pub previous: bool,
    /// auto, cpu, cuda, cuda:N or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// About how many MiB the cutouts that are worked on at once may take; less is slower, and changes the picture only by rounding
    #[arg(long, value_name = "MIB", allow_negative_numbers = true, value_parser = positive)]
    pub memory: Option<usize>,
    /// How it is watched and talked to.
    #[command(flatten)]
    pub company: CompanyArgs,
}

/// Arguments that every judge of pictures has.
#[derive(Debug, Args)]
pub struct JudgeArgs {
    /// auto, cpu, cuda, cuda:N or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// quick_gelu or gelu: the nonlinearity of every CLIP except the embedded one, overriding its files
    #[arg(long, value_name = "NAME")]
    pub activation: Option<ClipActivation>,
    /// Download the models that are not on this machine
    #[arg(long)]
    pub yes: bool,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub json: bool,
    /// Show no progress
    #[arg(long)]
    pub quiet: bool,
}

/// What pictures are scored by, and which.
#[derive(Debug, Args)]
#[group(id = "prompts", required = true, multiple = true, args = ["prompt", "image_prompt", "aesthetic"])]
pub struct ScoringArgs {
    /// What the pictures should show; `TEXT::WEIGHT` gives it a weight, below 0 to be far from it. May be given several times
    #[arg(long, value_name = "TEXT[::WEIGHT]", value_parser = Query::parse_text, allow_hyphen_values = true)]
    pub prompt: Vec<Query>,
    /// A picture that they should be like, weighted likewise; may be given several times
    #[arg(long, value_name = "FILE[::WEIGHT]", value_parser = Query::parse_picture)]
    pub image_prompt: Vec<Query>,
    /// The CLIP that judges: embedded, a known model or a folder. May be given several times
    #[arg(long, value_name = "MODEL", default_value = EMBEDDED)]
    pub clip: Vec<String>,
    /// Score beauty, about 1 to 10, beside the prompts, or instead of them where there are none; a head other than LAION's stands behind an
    /// equals sign
    #[arg(long, value_name = "HEAD", num_args = 0..=1, require_equals = true, default_missing_value = aesthetic::HEAD)]
    pub aesthetic: Option<String>,
    /// The CLIP whose embeddings the head takes
    #[arg(long, value_name = "MODEL", default_value = aesthetic::CLIP, requires = "aesthetic")]
    pub aesthetic_clip: String,
    /// How several CLIPs become one judge
    #[arg(long, value_name = "HOW", default_value = "score")]
    pub combine: CombineChoice,
    /// What all judges have
    #[command(flatten)]
    pub judge: JudgeArgs,
    /// Pictures, and folders that are searched for pictures
    #[arg(required = true, value_name = "IMAGE|DIR")]
    pub paths: Vec<PathBuf>,
}

/// How several CLIPs become one judge.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum CombineChoice {
    /// The mean of their scores
    Score,
    /// The mean of their rankings
    Rank,
}

/// Arguments of `rerank`.
#[derive(Debug, Args)]
pub struct RerankArgs {
    /// What is scored, by what
    #[command(flatten)]
    pub scoring: ScoringArgs,
    /// Show the best so many alone
    #[arg(long, value_name = "K", allow_negative_numbers = true, value_parser = positive)]
    pub top: Option<usize>,
    /// A contact sheet of the results: .png or .html
    #[arg(long, value_name = "FILE.png", value_parser = sheet)]
    pub sheet: Option<PathBuf>,
}

/// Arguments of `score`.
#[derive(Debug, Args)]
pub struct ScoreArgs {
    /// What is scored, by what
    #[command(flatten)]
    pub scoring: ScoringArgs,
}

/// Arguments of `classify`.
#[derive(Debug, Args)]
pub struct ClassifyArgs {
    /// The labels; or `imagenette` or `imagewoof`, the labels of these data sets
    #[arg(
        long,
        value_name = "A,B,C",
        value_delimiter = ',',
        required_unless_present = "labels_file"
    )]
    pub labels: Vec<String>,
    /// The labels, one a line; `folder = label` where --truth should know a folder by another name
    #[arg(long, value_name = "FILE", conflicts_with = "labels")]
    pub labels_file: Option<PathBuf>,
    /// A sentence for the labels, with {} for the label; or `simple` or `imagenet` (80 sentences). Several are averaged
    #[arg(long, value_name = "TEXT", default_value = "simple")]
    pub template: Vec<String>,
    /// The CLIP: embedded, a known model or a folder. Of several, each one's accuracy is told, and their probabilities are averaged
    #[arg(long, value_name = "MODEL", default_value = EMBEDDED)]
    pub clip: Vec<String>,
    /// Show the most probable so many labels alone
    #[arg(long, value_name = "K", allow_negative_numbers = true, value_parser = positive)]
    pub top: Option<usize>,
    /// The folder that a picture lies in is its true label: tell how often that is found, and what is taken for what
    #[arg(long)]
    pub truth: bool,
    /// Print a table with commas: path, label, probability, and a column for each label
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// What all judges have
    #[command(flatten)]
    pub judge: JudgeArgs,
    /// Pictures, and folders that are searched for pictures
    #[arg(required = true, value_name = "IMAGE|DIR")]
    pub paths: Vec<PathBuf>,
}

/// Arguments of `search`.
#[derive(Debug, Args)]
#[group(id = "wanted", required = true, multiple = true, args = ["query", "image"])]
pub struct SearchArgs {
    /// What to look for
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub query: Option<String>,
    /// A picture to find others like; with --query, both count
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    /// The CLIP that looks: embedded, a known model or a folder
    #[arg(long, value_name = "MODEL", default_value = EMBEDDED)]
    pub clip: String,
    /// Show the best so many
    #[arg(long, value_name = "K", default_value_t = 20, allow_negative_numbers = true, value_parser = positive)]
    pub top: usize,
    /// A contact sheet of the results: .png or .html
    #[arg(long, value_name = "FILE.png|.html", value_parser = sheet)]
    pub sheet: Option<PathBuf>,
    /// What all judges have
    #[command(flatten)]
    pub judge: JudgeArgs,
    /// The folder, with all that is in it
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

/// A text to paint, and how much it counts.
#[derive(Clone, Debug)]
pub struct PromptArg {
    /// As it was typed, for messages.
    pub typed: String,
    /// The text without the weight.
    pub text: String,
    /// Below 0 the picture is pushed away from it.
    pub weight: f64,
}

impl PromptArg {
    fn parse(typed: &str) -> Result<Self, String> {
        let (text, weight) = weighted(typed)?;
        Ok(Self {
            typed: typed.to_owned(),
            text: text.to_owned(),
            weight,
        })
    }
}

/// Steps of a render.
fn steps(text: &str) -> Result<usize, String> {
    (text.parse().ok().filter(|steps| *steps <= MOST_STEPS))
        .ok_or_else(|| format!("expected a whole number from 0 to {MOST_STEPS}, in digits"))
}

/// Steps of a render, at least one.
fn more_steps(text: &str) -> Result<usize, String> {
    (steps(text).ok().filter(|steps| *steps > 0))
        .ok_or_else(|| format!("expected a whole number from 1 to {MOST_STEPS}, in digits"))
}

/// A seed.
fn seed(text: &str) -> Result<u64, String> {
    (text.parse()).map_err(|_| format!("expected a whole number from 0 to {}, in digits", u64::MAX))
}

/// A whole number from 1.
fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("expected a whole number from 1".to_owned()),
    }
}

/// The name of a sheet's file.
fn sheet(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
    match ending.to_str() {
        Some("png" | "html" | "htm") => Ok(path),
        _ => Err("expected a file that ends in .png or .html".to_owned()),
    }
}

/// Arguments of `grow`.
#[derive(Debug, Args)]
pub struct GrowArgs {
    /// The rule (rule.safetensors), or the run folder that it lies in
    pub rule: PathBuf,
    /// Width and height in pixels; any will do
    #[arg(long, value_name = "WxH", default_value = "256x256", value_parser = grid)]
    pub size: [usize; 2],
    /// Iterations of the rule
    #[arg(long, value_name = "N", default_value_t = 320, value_parser = steps, allow_negative_numbers = true)]
    pub steps: usize,
    /// Decides which cells change when
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Make a video of it
    #[arg(long, value_enum, value_name = "KIND")]
    pub video: Option<GrowVideo>,
    /// Watch it in a window, where a click wipes out a part of it, until the window is closed
    #[arg(long, conflicts_with_all = ["steps", "video", "damage"])]
    pub live: bool,
    /// Wipe out a disc in the middle after so many iterations, to see it heal
    #[arg(long, value_name = "STEP")]
    pub damage: Option<usize>,
    /// auto, cpu, cuda, cuda:N or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// Where run folders go
    #[arg(long, value_name = "DIR", default_value = "outputs")]
    pub out: PathBuf,
    /// Print one JSON object about the run on standard output
    #[arg(long)]
    pub json: bool,
}

/// Formats of videos.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum GrowVideo {
    /// 256 colours a frame; plays everywhere
    Gif,
    /// H.264; needs ffmpeg
    Mp4,
    /// Every pixel as it is; plays in browsers
    Webp,
}

/// `WIDTHxHEIGHT` of a pattern.
fn grid(text: &str) -> Result<[usize; 2], String> {
    const LONGEST: usize = 16_384;
    const MOST_CELLS: usize = 1 << 24;
    let sides = text.split_once(['x', 'X']).and_then(|(width, height)| {
        Some([width.trim().parse().ok()?, height.trim().parse().ok()?])
    });
    (sides.filter(|sides| sides.iter().all(|side| (1..=LONGEST).contains(side))))
        .filter(|[width, height]| width * height <= MOST_CELLS)
        .ok_or_else(|| {
            format!(
                "expected width and height, such as 256x256: sides up to {LONGEST}, at most {MOST_CELLS} pixels"
            )
        })
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
    /// The noise that a one-step diffusion model makes a picture of
    Noise,
    /// The latents of a VQGAN
    Vqgan,
    /// The latents of an autoencoder
    Latent,
    /// A neural cellular automaton
    Cellular,
    /// Pixels, of any colour or of a palette's
    Pixels,
    /// The picture's spectrum
    Fft,
}

/// Arguments of `models`.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    /// What to do; `list` if nothing is said
    #[command(subcommand)]
    pub command: Option<ModelsCommand>,
}

/// Commands on models.
#[derive(Clone, Debug, Subcommand)]
pub enum ModelsCommand {
    /// Which models are known, and which of them are on this machine
    List {
        /// Show only these, in more detail: names, aliases or repositories
        #[arg(value_name = "NAME[@REVISION]")]
        names: Vec<String>,
        /// Print one JSON object on standard output
        #[arg(long)]
        json: bool,
    },
    /// Print where a model lies on this machine
    Path {
        /// Its name, alias or repository, optionally with a branch, tag, pull request (`refs/pr/15`) or commit
        #[arg(value_name = "NAME[@REVISION]")]
        name: String,
    },
    /// Download a model into the Hugging Face cache
    Fetch {
        /// Its name, alias or repository, optionally with a branch, tag, pull request (`refs/pr/15`) or commit
        #[arg(value_name = "NAME[@REVISION]")]
        name: String,
        /// Show no progress
        #[arg(long)]
        quiet: bool,
    },
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
