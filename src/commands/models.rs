//! `phantasia models`

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use phantasia::clip::files::ClipFiles;
use phantasia::models::{
    self, Cache, FetchRequest, Hub, HubModel, Model, ModelKind, ResolveError, Snapshot,
    embedded_models, is_embedded, resolve,
};
use phantasia::recipe::{FileKind, Recipe};
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
#[derive(Debug, Subcommand)]
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
    aliases: &'a [String],
    kind: &'a str,
    /// Whether it is a part of the program, and so has no files.
    embedded: bool,
    repository: Option<String>,
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
    match &args.command {
        None => list(&[], false)?,
        Some(ModelsCommand::List { names, json }) => list(names, *json)?,
        Some(ModelsCommand::Path { name } | ModelsCommand::Fetch { name, .. })
            if is_embedded(name) =>
        {
            // its name stands for the path
            eprint_line(format_args!(
                "`{name}` is part of the program: it has no files, and there is nothing to fetch"
            ));
            print_line(name)?;
        }
        Some(ModelsCommand::Path { name }) => {
            let found = resolve(name, None)?;
            found.note.into_iter().for_each(eprint_line);
            if let Some(path) = found.path {
                print_line(path.display())?;
            }
        }
        Some(ModelsCommand::Fetch { name, quiet }) => print_line(fetch(name, *quiet)?.display())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(names: &[String], json: bool) -> Result<()> {
    let cache = Cache::from_env();
    let known = models::all().iter().map(|model| model.name.as_str());
    let named = names.iter().map(String::as_str);
    let embedded = embedded_models()
        .filter(|(model, ..)| names.is_empty() || names.iter().any(|name| name == model));
    let hub = (named.filter(|name| !is_embedded(name)))
        .chain(known.filter(|_| names.is_empty()))
        .map(|name| Ok(line(name, &HubModel::parse(name)?, &cache)));
    let lines = (embedded.map(|(name, kind, about)| Ok(embedded_line(name, kind, about))))
        .chain(hub)
        .collect::<Result<Vec<Line<'_>>>>()?;
    if json {
        return print_json(&json!({ "models": lines }));
    }
    let mut table = Table::new([
        ("name", Side::Left),
        ("kind", Side::Left),
        ("size", Side::Right),
        ("about", Side::Left),
    ]);
    for line in &lines {
        let size = match (&line.path, line.megabytes) {
            (path, _) if line.embedded || path.is_some() => "here".to_owned(),
            (_, Some(size)) => models::megabytes(size),
            (_, None) => "not here".to_owned(),
        };
        let [name, kind, about] = [line.name, line.kind, line.about].map(str::to_owned);
        table.row([name, kind, size, about]);
    }
    table.print()?;
    if !names.is_empty() {
        lines.iter().try_for_each(details)?;
    }
    Ok(())
}

/// Prints what the cache holds of a model.
fn details(line: &Line<'_>) -> Result<()> {
    let (name, Some(repository)) = (line.name, &line.repository) else {
        return Ok(());
    };
    print_line(format_args!("\n{name}: repository {repository}"))?;
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
        let (commit, files) = (&state.commit, state.files.join(", "));
        print_line(format_args!("  snapshot {commit} ({names}): {files}"))?;
    }
    Ok(())
}

fn embedded_line(name: &'static str, kind: ModelKind, about: &'static str) -> Line<'static> {
    Line {
        name,
        aliases: &[],
        kind: kind.name(),
        embedded: true,
        repository: None,
        revision: None,
        megabytes: None,
        licence: None,
        about,
        path: None,
        note: None,
        snapshots: vec![],
    }
}

fn line<'a>(name: &'a str, hub: &HubModel, cache: &Cache) -> Line<'a> {
    let model: Option<&'static Model> = hub.model;
    let found = hub.resolve(name, None, cache);
    let (path, note) = found.map_or((None, None), |found| (found.path, found.note));
    let state = |snapshot: Snapshot| State {
        files: snapshot.files(),
        commit: snapshot.commit,
        references: snapshot.references,
        path: snapshot.path.display().to_string(),
    };
    let snapshots = cache.snapshots(&hub.repository).into_iter();
    Line {
        name: model.map_or(name, |model| &model.name),
        aliases: model.map_or(&[], |model| &model.aliases),
        kind: model.map_or("unknown", |model| model.kind.name()),
        embedded: false,
        repository: Some(hub.repository.clone()),
        revision: hub.revision.clone(),
        megabytes: model.map(|model| model.megabytes),
        licence: model.map(|model| model.licence.as_str()),
        about: model.map_or("not in the table of known models", |model| &model.about),
        path: path.map(|path| path.display().to_string()),
        note,
        snapshots: snapshots.map(state).collect(),
    }
}

/// The hub of the environment, with messages about slow connections on standard error.
fn hub() -> Hub {
    Hub::from_env().with_notices(|text| eprint_line(text))
}

/// Downloads a model, and the shared tokenizer where it needs one. Returns the folder that it lies in.
fn fetch(name: &str, quiet: bool) -> Result<PathBuf> {
    let hub = hub();
    let folder = download(&hub, &FetchRequest::parse(name)?, quiet)?;
    fetch_tokenizer(&hub, name, quiet)?;
    Ok(folder)
}

/// Downloads the tokenizer that CLIPs share, where a model has none of its own.
fn fetch_tokenizer(hub: &Hub, name: &str, quiet: bool) -> Result<()> {
    let Ok(model) = resolve(name, ModelKind::Clip) else {
        return Ok(());
    };
    let shares = model.model.is_some_and(|model| model.shared_tokenizer);
    let files = |path: PathBuf| ClipFiles::of_model(&path, model.model).ok();
    let has = || (model.path.and_then(files)).is_some_and(|files| files.tokenizer.is_some());
    if shares && !has() {
        download(hub, &FetchRequest::standard_tokenizer(), quiet)?;
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
        match resolve(&name, None) {
            Ok(model) => {
                model.note.into_iter().for_each(eprint_line);
                if yes {
                    fetch_tokenizer(&hub(), &name, quiet)?;
                }
            }
            Err(ResolveError::Missing { .. }) if yes => drop(fetch(&name, quiet)?),
            Err(error @ ResolveError::Missing { .. }) => missing.push(error.to_string()),
            // loading it reports this in more detail
            Err(
                ResolveError::Unknown { .. }
                | ResolveError::OtherKind { .. }
                | ResolveError::Revision { .. }
                | ResolveError::Embedded { .. },
            ) => {}
        }
    }
    if !missing.is_empty() {
        let missing = missing.join("; ");
        bail!("{missing}; or add --yes, and it is downloaded first");
    }
    Ok(())
}

/// Ensures that the models of recipes and their judges are on this machine.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_for<'r>(
    recipes: impl IntoIterator<Item = &'r Recipe>,
    judges: &[String],
    yes: bool,
    quiet: bool,
) -> Result<()> {
    let mut models = vec![];
    for recipe in recipes {
        let files = recipe.files()?.into_iter();
        models.extend(files.filter(|file| file.kind == FileKind::Model));
    }
    let own = models.into_iter().map(|file| file.name);
    ensure(own.chain(judges.iter().cloned()), yes, quiet)
}

fn download(hub: &Hub, request: &FetchRequest, quiet: bool) -> Result<PathBuf> {
    let mut progress = Progress::of_download(quiet);
    let fetched = hub.fetch(request, &mut |fetch| {
        progress.update(fetch.done as usize, fetch.total as usize, fetch.file);
    });
    drop(progress);
    let fetched = fetched?;
    if !quiet {
        let (repository, files) = (&request.repository, fetched.files.join(", "));
        let megabytes = fetched.bytes as f64 / 1e6;
        eprint_line(format_args!(
            "{repository}: {files}, {megabytes:.1} MB fetched"
        ));
    }
    Ok(fetched.folder)
}
