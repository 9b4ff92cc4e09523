//! `phantasia models`

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use phantasia::models::{self, Cache, Hub, Model, ModelError, Wanted};
use phantasia::recipe::Recipe;
use phantasia::weights::{self, EMBEDDED};
use serde::Serialize;

use super::console::{note, say};
use crate::cli::{ModelsArgs, ModelsCommand};

/// What `list --json` says of a model.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    aliases: &'a [&'a str],
    kind: &'a str,
    repository: &'a str,
    megabytes: u32,
    licence: &'a str,
    about: &'a str,
    /// Where it lies, if it is on this machine.
    path: Option<String>,
}

#[derive(Serialize)]
struct List<'a> {
    models: Vec<Line<'a>>,
}

/// Lists, finds and fetches models.
pub fn run(args: &ModelsArgs) -> Result<ExitCode> {
    match args
        .command
        .clone()
        .unwrap_or(ModelsCommand::List { json: false })
    {
        ModelsCommand::List { json } => list(json)?,
        ModelsCommand::Path { name } => {
            let found = models::locate(&name, Path::new(""), models::ANY_WEIGHTS)?;
            say(found.path.display())?;
        }
        ModelsCommand::Fetch { name, quiet } => say(fetch(&name, quiet)?.display())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(json: bool) -> Result<()> {
    let cache = Cache::from_env();
    let line = |model: &'static Model| Line {
        name: model.name,
        aliases: model.aliases,
        kind: model.kind.word(),
        repository: model.repository,
        megabytes: model.megabytes,
        licence: model.licence,
        about: model.about,
        path: cache.model(model).map(|path| path.display().to_string()),
    };
    let models: Vec<Line> = models::all().iter().map(line).collect();
    if json {
        return Ok(say(serde_json::to_string(&List { models })?)?);
    }
    let wide = models
        .iter()
        .map(|model| model.name.len())
        .max()
        .unwrap_or(0);
    say(format_args!(
        "{EMBEDDED:wide$}  clip       part of the program"
    ))?;
    for model in &models {
        let place = match model.path {
            Some(_) => "here".to_owned(),
            None => models::megabytes(model.megabytes),
        };
        say(format_args!(
            "{:wide$}  {:9}  {place:>7}  {}",
            model.name, model.kind, model.about
        ))?;
    }
    Ok(())
}

/// Downloads a model, and the shared tokenizer where it needs one. Returns the folder that it lies in.
fn fetch(name: &str, quiet: bool) -> Result<PathBuf> {
    let hub = Hub::from_env();
    let wanted = models::wanted(name)?;
    let folder = download(&hub, &wanted, quiet)?;
    fetch_tokenizer(&hub, name, quiet)?;
    Ok(folder)
}

/// Downloads the tokenizer that CLIPs share, where a model has none of its own.
fn fetch_tokenizer(hub: &Hub, name: &str, quiet: bool) -> Result<()> {
    if let Some(tokenizer) = models::find(name).and_then(models::wanted_tokenizer)
        && !weights::has_tokenizer(name)
    {
        download(hub, &tokenizer, quiet)?;
    }
    Ok(())
}

/// Sees to it that models are on this machine before any work begins: those that are not are downloaded, with `yes`, or else named.
///
/// # Errors
/// Where one is missing, with all that are, or cannot be downloaded.
pub fn need(names: impl IntoIterator<Item = String>, yes: bool, quiet: bool) -> Result<()> {
    let mut asked = HashSet::new();
    let mut missing = vec![];
    for name in names {
        if !asked.insert(name.clone()) {
            continue;
        }
        match weights::at_hand(&name) {
            Ok(()) if yes => fetch_tokenizer(&Hub::from_env(), &name, quiet)?,
            Ok(()) => {}
            Err(ModelError::Missing { .. }) if yes => {
                fetch(&name, quiet)?;
            }
            Err(error @ ModelError::Missing { .. }) => missing.push(error.to_string()),
            // whoever loads it says more
            Err(ModelError::Unknown { .. }) => {}
        }
    }
    match missing.is_empty() {
        true => Ok(()),
        false => bail!(
            "{}; or add --yes, and it is downloaded first",
            missing.join("; ")
        ),
    }
}

/// Likewise, the models of a recipe and of its judges.
pub fn need_of(recipe: &Recipe, judges: &[String], yes: bool, quiet: bool) -> Result<()> {
    let mut recipe = recipe.clone();
    let own = recipe.models_mut().map(|name| name.clone());
    need(own.chain(judges.iter().cloned()), yes, quiet)
}

fn download(hub: &Hub, wanted: &Wanted, quiet: bool) -> Result<PathBuf> {
    let bar = match quiet {
        true => ProgressBar::hidden(),
        false => ProgressBar::new(0),
    };
    if let Ok(style) = ProgressStyle::with_template(
        "{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta}  {msg}",
    ) {
        bar.set_style(style);
    }
    let mut file = String::new();
    let fetched = hub.fetch(wanted, &mut |progress| {
        if progress.file != file {
            progress.file.clone_into(&mut file);
            bar.set_message(file.clone());
            bar.set_length(progress.total);
            bar.set_position(progress.done);
            bar.reset_eta();
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    let fetched = fetched?;
    if !quiet {
        note(format_args!(
            "{}: {}, {:.1} MB fetched",
            wanted.repository,
            fetched.files.join(", "),
            fetched.bytes as f64 / 1e6
        ));
    }
    Ok(fetched.folder)
}
