//! `phantasia models`

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use phantasia::load::{self, EMBEDDED};
use phantasia::models::{self, Cache, Hub, Model, ModelError, Reference, Snapshot, Wanted};
use phantasia::recipe::Recipe;
use serde::Serialize;
use serde_json::json;

use super::console::{eprint_line, print_json, print_line};
use super::progress::Progress;
use super::table::{Side, Table};

/// Arguments of `models`.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    /// What to do [default: list]
    #[command(subcommand)]
    command: Option<ModelsCommand>,
}

/// Commands on models.
#[derive(Clone, Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the known models, and which of them are on this machine
    List {
        /// Show only these, in more detail: names, aliases or repositories
        #[arg(value_name = "NAME[@REVISION]")]
        names: Vec<String>,
        /// Print one JSON object on standard output
        #[arg(long)]
        json: bool,
    },
    /// Print the path of a model on this machine
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

/// What `list --json` says of a model.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    aliases: &'a [&'a str],
    kind: &'a str,
    repository: String,
    /// The requested revision.
    revision: Option<String>,
    megabytes: Option<u32>,
    licence: Option<&'a str>,
    about: &'a str,
    /// Where it lies, if it is on this machine.
    path: Option<String>,
    /// Which snapshot that is and why, if it is not the one that the name means.
    note: Option<String>,
    /// The cached snapshots of its repository, the newest first.
    snapshots: Vec<State>,
}

/// A snapshot in the cache.
#[derive(Serialize)]
struct State {
    commit: String,
    /// The refs that point to it.
    references: Vec<String>,
    path: String,
    files: Vec<String>,
}

/// Lists, finds and fetches models.
pub fn run(args: &ModelsArgs) -> Result<ExitCode> {
    match args.command.clone().unwrap_or(ModelsCommand::List {
        names: vec![],
        json: false,
    }) {
        ModelsCommand::List { names, json } => list(&names, json)?,
        ModelsCommand::Path { name } if name == EMBEDDED => part_of_the_program()?,
        ModelsCommand::Path { name } => {
            let found = models::locate(&name, Path::new(""), models::ANY_WEIGHTS)?;
            if let Some(about) = found.note {
                eprint_line(about);
            }
            print_line(found.path.display())?;
        }
        ModelsCommand::Fetch { name, .. } if name == EMBEDDED => part_of_the_program()?,
        ModelsCommand::Fetch { name, quiet } => print_line(fetch(&name, quiet)?.display())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Handles the embedded model, which needs no files: its name is printed in place of a path.
fn part_of_the_program() -> Result<()> {
    eprint_line(format_args!(
        "`{EMBEDDED}` is part of the program: it has no files, and there is nothing to fetch"
    ));
    Ok(print_line(EMBEDDED)?)
}

fn list(names: &[String], json: bool) -> Result<()> {
    let cache = Cache::from_env();
    let has_embedded = names.is_empty() || names.iter().any(|name| name == EMBEDDED);
    let known = models::all().iter().map(|model| model.name);
    let named = names.iter().map(String::as_str);
    let lines = (named.filter(|name| *name != EMBEDDED))
        .chain(known.filter(|_| names.is_empty()))
        .map(|name| Ok(line(name, &Reference::parse(name)?, &cache)))
        .collect::<Result<Vec<Line<'_>>>>()?;
    if json {
        return print_json(&json!({ "models": lines }));
    }
    let columns = ["name", "kind"].map(|header| (header, Side::Left));
    let size = ("size", Side::Right);
    let mut table = Table::new(columns.into_iter().chain([size, ("about", Side::Left)]));
    if has_embedded {
        table.row([EMBEDDED, "clip", "here", "part of the program"].map(str::to_owned));
    }
    for line in &lines {
        let size = match (&line.path, line.megabytes) {
            (Some(_), _) => "here".to_owned(),
            (None, Some(size)) => models::megabytes(size),
            (None, None) => "not here".to_owned(),
        };
        table.row([
            line.name.to_owned(),
            line.kind.to_owned(),
            size,
            line.about.to_owned(),
        ]);
    }
    table.print()?;
    if !names.is_empty() {
        lines.iter().try_for_each(details)?;
    }
    Ok(())
}

/// Prints what the cache holds of a model.
fn details(line: &Line<'_>) -> Result<()> {
    print_line(format_args!(
        "\n{}: repository {}",
        line.name, line.repository
    ))?;
    if let Some(path) = &line.path {
        print_line(format_args!("  here in {path}"))?;
    }
    if let Some(about) = &line.note {
        print_line(format_args!("  {about}"))?;
    }
    for state in &line.snapshots {
        let names = match state.references.as_slice() {
            [] => "no ref".to_owned(),
            names => names.join(", "),
        };
        print_line(format_args!(
            "  snapshot {} ({names}): {}",
            state.commit,
            state.files.join(", ")
        ))?;
    }
    Ok(())
}

fn line<'a>(name: &'a str, reference: &Reference, cache: &Cache) -> Line<'a> {
    let model: Option<&'static Model> = reference.model;
    let found = models::located(reference, models::ANY_WEIGHTS);
    let state = |snapshot: Snapshot| State {
        files: snapshot.files(),
        commit: snapshot.commit,
        references: snapshot.references,
        path: snapshot.path.display().to_string(),
    };
    Line {
        name: model.map_or(name, |model| model.name),
        aliases: model.map_or(&[], |model| model.aliases),
        kind: model.map_or("unknown", |model| model.kind.word()),
        repository: reference.repository.clone(),
        revision: reference.revision.clone(),
        megabytes: model.map(|model| model.megabytes),
        licence: model.map(|model| model.licence),
        about: model.map_or("not in the table of known models", |model| model.about),
        path: found.as_ref().map(|found| found.path.display().to_string()),
        note: found.and_then(|found| found.note),
        snapshots: (cache.snapshots(&reference.repository).into_iter())
            .map(state)
            .collect(),
    }
}

/// The hub of the environment, with messages about slow connections on standard error.
fn hub() -> Hub {
    Hub::from_env().telling(|text| eprint_line(text))
}

/// Downloads a model, and the shared tokenizer where it needs one. Returns the folder that it lies in.
fn fetch(name: &str, quiet: bool) -> Result<PathBuf> {
    let hub = hub();
    let wanted = models::wanted(name)?;
    let folder = download(&hub, &wanted, quiet)?;
    fetch_tokenizer(&hub, name, quiet)?;
    Ok(folder)
}

/// Downloads the tokenizer that CLIPs share, where a model has none of its own.
fn fetch_tokenizer(hub: &Hub, name: &str, quiet: bool) -> Result<()> {
    if let Some(tokenizer) = models::find(name).and_then(models::wanted_tokenizer)
        && !load::has_tokenizer(name)
    {
        download(hub, &tokenizer, quiet)?;
    }
    Ok(())
}

/// Ensures that models are on this machine before any work begins. Those that are not are downloaded with `yes`.
///
/// # Errors
/// When models are missing, which are named, or one cannot be downloaded.
pub fn ensure(names: impl IntoIterator<Item = String>, yes: bool, quiet: bool) -> Result<()> {
    let mut asked = HashSet::new();
    let mut missing = vec![];
    for name in names {
        if !asked.insert(name.clone()) {
            continue;
        }
        match load::at_hand(&name) {
            Ok(about) => {
                if let Some(about) = about {
                    eprint_line(about);
                }
                if yes {
                    fetch_tokenizer(&hub(), &name, quiet)?;
                }
            }
            Err(ModelError::Missing { .. }) if yes => {
                fetch(&name, quiet)?;
            }
            Err(error @ ModelError::Missing { .. }) => missing.push(error.to_string()),
            // whoever loads it says more
            Err(ModelError::Unknown { .. } | ModelError::Revision { .. }) => {}
        }
    }
    if !missing.is_empty() {
        bail!(
            "{}; or add --yes, and it is downloaded first",
            missing.join("; ")
        );
    }
    Ok(())
}

/// Ensures that the models of a recipe and its judges are on this machine.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_for(recipe: &Recipe, judges: &[String], yes: bool, quiet: bool) -> Result<()> {
    let mut recipe = recipe.clone();
    let own = recipe.models_mut().map(|name| name.clone());
    ensure(own.chain(judges.iter().cloned()), yes, quiet)
}

fn download(hub: &Hub, wanted: &Wanted, quiet: bool) -> Result<PathBuf> {
    let mut progress = Progress::of_download(quiet);
    let fetched = hub.fetch(wanted, &mut |fetch| {
        progress.update(fetch.done as usize, fetch.total as usize, fetch.file);
    });
    drop(progress);
    let fetched = fetched?;
    if !quiet {
        eprint_line(format_args!(
            "{}: {}, {:.1} MB fetched",
            wanted.repository,
            fetched.files.join(", "),
            fetched.bytes as f64 / 1e6
        ));
    }
    Ok(fetched.folder)
}
