//! `phantasia compare`

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Instant;

use anyhow::{Error, Result, bail};
use candle_core::Device;
use clap::Args;
use phantasia::clip::{ClipActivation, Library};
use phantasia::judge::comparison::{
    AgainstFirst, Comparison, ComparisonError, ComparisonOptions, Entry, NOISE_FLOOR, Picture,
    SHEET, Standing, read_prompts,
};
use phantasia::prompt_check::check_prompts;
use phantasia::recipe::PartialRecipe;
use phantasia::run::{RECIPE, run_name};
use phantasia::sweep;
use serde_json::{Value, json};

use super::arguments::{RecipeChanges, SessionArgs};
use super::console::{
    UsageError, counted, duration, eprint_line, print_json, print_line, warn_all,
};
use super::interrupt::{INTERRUPTED, interrupt};
use super::judge::check_activation;
use super::models;
use super::progress::Progress;
use super::source::load_file;
use super::table::{Side, Table};

/// The most seeds of one comparison.
const MOST_SEEDS: usize = 1000;

/// What `compare --help` says after its arguments.
pub const AFTER_HELP: &str = "\
The folder compare-NNN holds sheet.png, on which all pictures stand side by side, comparison.json with every score, and pictures/, whose pictures
have the recipes that paint them again. `phantasia resume` on the folder continues a comparison that was stopped, and paints again what failed.

Exit code: 0 when all pictures were painted and judged, 1 when one failed or the comparison could not go on, 2 when the arguments or a recipe are
wrong, 130 when it was interrupted.";

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Recipes (.yaml), or pictures by Phantasia (.png, which have their recipes in their metadata), at least two; the others are compared
    /// with the first. The folder of a sweep stands for the recipes of its finished runs
    #[arg(required = true, value_name = "RECIPE")]
    recipes: Vec<PathBuf>,
    /// A text file with one prompt per line, which each recipe paints in place of its first text of positive weight, or of {prompt} in its
    /// texts [default: the recipes' own prompts]
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// The seeds with which each prompt is painted: 1..3 (both included), 1,4,7 or one number [default: each recipe's own]
    #[arg(long, value_name = "SEEDS", allow_hyphen_values = true)]
    seeds: Option<Seeds>,
    /// The CLIP that judges, which may guide none of the recipes: a known model, a folder, or embedded/resnet for recipes that
    /// embedded/transformer guides. May be given several times
    #[arg(long, value_name = "MODEL", required = true)]
    judge: Vec<String>,
    /// Activation function of the CLIPs of --judge, quick_gelu or gelu, overriding their files
    #[arg(long, value_name = "NAME")]
    activation: Option<ClipActivation>,
    /// Changes of the values of all recipes
    #[command(flatten)]
    changes: RecipeChanges,
    /// How the sessions compute
    #[command(flatten)]
    session: SessionArgs,
    /// Create the folder `compare-NNN` in this folder
    #[arg(long, value_name = "DIR", default_value = "outputs")]
    out: PathBuf,
    /// Print one JSON object about the comparison on standard output
    #[arg(long)]
    json: bool,
    /// Show no progress
    #[arg(long)]
    quiet: bool,
}

/// Seeds as they are typed, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seeds(Vec<u64>);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let number = |text: &str| {
            (text.trim().parse::<u64>()).map_err(|_| {
                format!(
                    "`{text}` is no seed: expected whole numbers from 0 to {}, as in 1..3, 1,4,7 or 5",
                    u64::MAX
                )
            })
        };
        let mut seeds = vec![];
        for part in typed.split(',') {
            let Some((first, last)) = part.split_once("..") else {
                seeds.push(number(part)?);
                continue;
            };
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!(
                    "`{part}` has no seed: the smaller number comes first"
                ));
            }
            // before they are collected
            if last - first >= MOST_SEEDS as u64 {
                return Err(format!("`{part}` has more than {MOST_SEEDS} seeds"));
            }
            seeds.extend(first..=last);
        }
        if seeds.len() > MOST_SEEDS {
            return Err(format!("there are more than {MOST_SEEDS} seeds"));
        }
        Ok(Self(seeds))
    }
}

/// Compares recipes.
pub fn run(args: &CompareArgs) -> Result<ExitCode> {
    check_activation(args.activation, &args.judge)?;
    let prompts = args.prompts.as_deref().map(read_prompts).transpose();
    let prompts = prompts.map_err(|error| UsageError(format!("--prompts: {error:#}")))?;
    let options = ComparisonOptions {
        prompts: prompts.unwrap_or_default(),
        seeds: args
            .seeds
            .as_ref()
            .map_or_else(Vec::new, |seeds| seeds.0.clone()),
        judges: args.judge.clone(),
        activation: args.activation,
    };
    let (partials, entries) = read_recipes(args)?;
    options.check(&entries).map_err(usage)?;
    let recipes = entries.iter().map(|entry| &entry.recipe);
    let session = &args.session;
    models::ensure_for(recipes, &options.judges, session.models.yes, args.quiet)?;
    let session_options = session.options();
    for (partial, Entry { recipe, .. }) in partials.iter().zip(&entries) {
        // only for its errors: the sessions, which have the models, give the same warnings
        check_prompts(partial, recipe, &session_options.library)?;
        for clip in &recipe.clip {
            check_battery(&options.prompts, &clip.model, &session_options.library)?;
        }
    }
    play(session, (args.json, args.quiet), |device| {
        Comparison::new(&args.out, &entries, &options, session_options, device)
    })
}

/// Resumes the comparison in a folder.
pub fn resume(folder: &Path, session: &SessionArgs, output: (bool, bool)) -> Result<ExitCode> {
    play(session, output, |device| {
        Comparison::resume(folder, session.options(), device)
    })
}

fn read_recipes(args: &CompareArgs) -> Result<(Vec<PartialRecipe>, Vec<Entry>)> {
    let (mut partials, mut entries, mut known) = (vec![], vec![], HashSet::new());
    let paths = recipes_in(&args.recipes)?;
    for path in &paths {
        let name = path.display();
        let mut partial = load_file(path)?;
        args.changes.apply(&mut partial)?;
        if known.insert(path) {
            warn_all(partial.warnings());
        } else {
            eprint_line(format_args!(
                "{name} is given more than once: its pictures are the same each time"
            ));
        }
        let (recipe, ignored_stop) = args.changes.finish(&partial)?;
        if let Some(stop) = ignored_stop {
            eprint_line(format_args!(
                "{name}: the timeline's stop after step {stop} is ignored, because a number of steps is given"
            ));
        }
        for drawn in partial.drawn_texts(&recipe) {
            eprint_line(format_args!("{name}: {drawn}"));
        }
        if recipe.output.video.is_some() || recipe.output.every > 0 {
            eprint_line(format_args!(
                "{name}: a comparison leaves no frames and videos"
            ));
        }
        partials.push(partial);
        let path = path.clone();
        entries.push(Entry { path, recipe });
    }
    Ok((partials, entries))
}

/// The recipes that are given, those of a sweep's runs in place of its folder.
fn recipes_in(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut paths = vec![];
    for path in given {
        if let Some(advice) = sweep::advice_on_url(path) {
            return Err(UsageError(format!("{}: {advice}", path.display())).into());
        }
        match sweep::runs_in(path) {
            Some(runs) if runs.is_empty() => bail!(
                "the sweep in {} has no finished run to compare",
                path.display()
            ),
            Some(runs) => paths.extend(runs.iter().map(|run| run.join(RECIPE))),
            None => paths.push(path.clone()),
        }
    }
    Ok(paths)
}

/// Refuses a prompt of the battery of which a CLIP that guides can read nothing.
fn check_battery(prompts: &[String], model: &str, library: &Library) -> Result<()> {
    // a model that cannot be loaded is reported when it is
    if let Ok(Some(tokenizer)) = library.tokenizer(model) {
        for prompt in prompts {
            let read = tokenizer.read_text(model, prompt);
            read.map_err(|error| UsageError(format!("--prompts: {error}")))?;
        }
    }
    Ok(())
}

/// Recipes that cannot be compared are bad usage.
fn usage(error: Error) -> Error {
    match error.downcast::<ComparisonError>() {
        Ok(refused) => UsageError(refused.to_string()).into(),
        Err(error) => error,
    }
}

fn play(
    session: &SessionArgs,
    (json, quiet): (bool, bool),
    load: impl FnOnce(&Device) -> Result<Comparison>,
) -> Result<ExitCode> {
    let stop = interrupt("step")?;
    let (device, device_name) = session.models.device.open()?;
    let mut comparison = load(&device)?;
    let start = Instant::now();
    let is_over = comparison.run(&stop, Progress::callback("step", quiet))?;
    warn_all(comparison.warnings());
    let record = comparison.record();
    let failed: Vec<&Picture> = (record.pictures.iter())
        .filter(|picture| picture.failed.is_some())
        .collect();
    for picture in &failed {
        let why = picture.failed.as_deref().unwrap_or_default();
        let Picture {
            recipe,
            prompt,
            seed,
            ..
        } = picture;
        eprint_line(format_args!(
            "failed: {recipe}, \"{}\", seed {seed}: {why}",
            prompt.escape_debug()
        ));
    }
    let seconds = start.elapsed().as_secs_f64();
    if is_over && !quiet {
        let count = counted(record.pictures.len(), "picture");
        eprint_line(format_args!("{count} in {}", duration(seconds)));
    }
    if json {
        print_json(&report(&comparison, is_over, seconds, &device_name))?;
    } else {
        for own in &record.recipes {
            // of several files of one name
            if own.name != run_name(Path::new(&own.path)) {
                eprint_line(format_args!("{} is {}", own.name, own.path));
            }
        }
        table(&comparison)?;
        print_line(comparison.folder().join(SHEET).display())?;
    }
    if !is_over {
        let folder = comparison.folder().display();
        eprint_line(format_args!(
            "interrupted; the results so far are in {folder}; `phantasia resume {folder}` continues"
        ));
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Ok(ExitCode::from(u8::from(!failed.is_empty())))
}

/// A line for each recipe.
fn table(comparison: &Comparison) -> Result<()> {
    let record = comparison.record();
    let several = record.judges.len() > 1;
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let with_error = |value: Option<f64>, error: Option<f64>| {
        let error = error.map_or_else(String::new, |error| format!(" ±{error:.4}"));
        number(value, 4) + &error
    };
    let left = [("recipe", Side::Left)].into_iter();
    let each = record.judges.iter().filter(|_| several);
    let columns = (left.chain([("score", Side::Right)]))
        .chain(each.map(|judge| (judge.as_str(), Side::Right)))
        .chain(
            [
                "difference",
                "wins",
                "losses",
                "draws",
                "spread",
                "seconds",
                "cutouts",
                "pictures",
            ]
            .map(|header| (header, Side::Right)),
        );
    let mut table = Table::new(columns);
    for own in record.summaries() {
        let Standing {
            score,
            standard_error,
            spread,
            against_first,
        } = own.standing;
        let count = |of: fn(&AgainstFirst) -> usize| {
            (against_first.as_ref()).map_or_else(|| "-".to_owned(), |first| of(first).to_string())
        };
        let difference = (against_first.as_ref()).map_or_else(
            || "-".to_owned(),
            |first| with_error(first.difference, first.difference_error),
        );
        let each = own.judges.iter().filter(|_| several);
        let row = [own.name, with_error(score, standard_error)].into_iter();
        let row = row
            .chain(
                each.map(|judge| with_error(judge.standing.score, judge.standing.standard_error)),
            )
            .chain([
                difference,
                count(|first| first.wins),
                count(|first| first.losses),
                count(|first| first.draws),
                number(spread, 4),
                number(own.seconds, 2),
                number(own.cutouts, 0),
                own.pictures.to_string(),
            ]);
        table.row(row);
    }
    table.print()
}

fn report(comparison: &Comparison, is_over: bool, seconds: f64, device: &str) -> Value {
    let record = comparison.record();
    let inside = |name: &str| comparison.folder().join(name).display().to_string();
    let picture = |own: &Picture| {
        let scores = record
            .judges
            .iter()
            .cloned()
            .zip(own.scores.iter().copied());
        let is_painted = !own.scores.is_empty();
        let mut picture = json!({
            "recipe": own.recipe,
            "prompt": own.prompt,
            "seed": own.seed,
            "picture": is_painted.then(|| inside(&own.file)),
            "score": own.score(),
            "judges": scores.collect::<Value>(),
            "seconds": is_painted.then_some(own.cost.seconds),
            "cutouts": is_painted.then_some(own.cost.cutouts),
        });
        if let Some(why) = &own.failed {
            picture["failed"] = json!(why);
        }
        picture
    };
    json!({
        "comparison": comparison.folder().display().to_string(),
        "finished": is_over,
        "sheet": inside(SHEET),
        "judges": record.judges,
        "noise_floor": NOISE_FLOOR,
        "prompts": record.prompts,
        "seeds": record.seeds,
        "seconds": seconds,
        "device": device,
        "recipes": record.summaries(),
        "pictures": record.pictures.iter().map(picture).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_ranges_and_lists() {
        for (typed, seeds) in [
            ("1..3", &[1, 2, 3][..]),
            ("1,4, 7", &[1, 4, 7]),
            ("5", &[5]),
            ("0..0", &[0]),
            ("2..3,9", &[2, 3, 9]),
            ("18446744073709551615", &[u64::MAX]),
        ] {
            assert_eq!(typed.parse(), Ok(Seeds(seeds.to_vec())), "{typed}");
        }
    }

    #[test]
    fn what_is_no_seed_is_refused() {
        for typed in [
            "",
            ",",
            "1,",
            "3..1",
            "1..",
            "..3",
            "-1",
            "1.5",
            "a",
            "1..2..3",
            "1...3",
            "1..=3",
            "0..18446744073709551615",
            "18446744073709551616",
        ] {
            let parsed = typed.parse::<Seeds>();
            assert!(parsed.is_err(), "{typed}: {parsed:?}");
        }
    }
}
