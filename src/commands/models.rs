//! `phantasia models`

mod fetching;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use phantasia::clip::files::ClipFiles;
use phantasia::models::{
    self, Cache, FetchRequest, HubModel, Model, ModelKind, Snapshot, embedded_models, is_embedded,
    resolve,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::console::{UsageError, eprint_line, print_json, print_line};
use super::table::{Side, Table};
use fetching::fetch;
pub use fetching::{check_clips, ensure, ensure_for};

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
    List(ListArgs),
    /// Print the path of a model on this machine
    Path {
        /// Its name, alias or repository, optionally with a branch, tag, pull request (`refs/pr/15`) or commit
        #[arg(value_name = "NAME[@REVISION]")]
        name: String,
    },
    /// Download models into the Hugging Face cache
    Fetch {
        /// Their names, aliases or repositories, each optionally with a branch, tag, pull request (`refs/pr/15`) or commit
        #[arg(value_name = "NAME[@REVISION]", required = true)]
        names: Vec<String>,
        /// Show no progress
        #[arg(long)]
        quiet: bool,
    },
}

/// Arguments of `models list`.
#[derive(Debug, Default, Args)]
pub struct ListArgs {
    /// Show only these, in more detail: names, aliases or repositories
    #[arg(value_name = "NAME[@REVISION]", conflicts_with_all = ["family", "search", "all"])]
    names: Vec<String>,
    /// Only CLIPs of this family of architectures, such as siglip2, or models of this kind, such as diffusion
    #[arg(long, value_name = "FAMILY")]
    family: Option<String>,
    /// Only models whose name, alias, repository, licence or description contains all of these words
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// All known models, not only the common ones and those on this machine
    #[arg(long)]
    all: bool,
    /// Print one JSON object on standard output, with all models unless it is told which
    #[arg(long)]
    json: bool,
}

/// What `list --json` says of a model.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    aliases: &'a [String],
    kind: &'a str,
    /// The family of a CLIP's architecture; what it is for, if it is no CLIP.
    family: Option<&'a str>,
    /// Whether this program can use it.
    supported: bool,
    /// Whether it is on this machine.
    cached: bool,
    /// Whether it is a part of the program, and so has no files.
    embedded: bool,
    repository: Option<String>,
    /// The requested revision.
    revision: Option<String>,
    megabytes: Option<u32>,
    /// How many the image tower has, and the rest.
    parameters: Option<[u64; 2]>,
    /// The name of its architecture in open_clip.
    architecture: Option<&'a str>,
    /// Whether its transformers use QuickGELU, if the table knows.
    quick_gelu: Option<bool>,
    /// How open_clip preprocesses pictures for it, in the keys of its `preprocess_cfg`; what is left out is as OpenAI does it.
    preprocess: Option<Value>,
    licence: Option<&'a str>,
    about: &'a str,
    /// The side of a CLIP's pictures in pixels, and its longest text in tokens, if they are known.
    #[serde(skip)]
    inputs: Option<(u64, u64)>,
    /// Whether the plain list shows it.
    #[serde(skip)]
    common: bool,
    #[serde(skip)]
    size: Option<String>,
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
        None => list(&ListArgs::default())?,
        Some(ModelsCommand::List(args)) => list(args)?,
        Some(ModelsCommand::Path { name }) if is_embedded(name) => print_embedded(name)?,
        Some(ModelsCommand::Path { name }) => {
            let found = resolve(name, None)?;
            found.note.into_iter().for_each(eprint_line);
            if let Some(path) = found.path {
                print_line(path.display())?;
            }
        }
        Some(ModelsCommand::Fetch { names, quiet }) => {
            let own: Vec<&String> = names.iter().filter(|name| !is_embedded(name)).collect();
            // before anything is downloaded
            own.iter()
                .try_for_each(|name| FetchRequest::parse(name).map(drop))?;
            for name in names {
                if is_embedded(name) {
                    print_embedded(name)?;
                } else {
                    print_line(fetch(name, *quiet)?.display())?;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the name of an embedded model, which stands for its path.
fn print_embedded(name: &str) -> Result<()> {
    eprint_line(format_args!(
        "`{name}` is part of the program: it has no files, and there is nothing to fetch"
    ));
    print_line(name)?;
    Ok(())
}

/// The known family that is meant: letter case, spaces and hyphens do not count.
fn family_named(typed: &str) -> Result<String> {
    let plain = |text: &str| text.to_lowercase().replace([' ', '-', '_'], "");
    let families = models::families();
    let found = families.iter().find(|family| plain(family) == plain(typed));
    let Some(family) = found else {
        bail!(UsageError(format!(
            "--family: there is no family `{typed}`; known are {}",
            families.join(", ")
        )));
    };
    Ok((*family).to_owned())
}

fn list(args: &ListArgs) -> Result<()> {
    let families = models::families();
    let family = args.family.as_deref().map(family_named).transpose()?;
    let ListArgs { names, json, .. } = args;
    let cache = Cache::from_env();
    let known = models::all().iter().map(|model| model.name.as_str());
    let named = names.iter().map(String::as_str);
    let embedded = embedded_models()
        .filter(|(model, ..)| names.is_empty() || names.iter().any(|name| name == model));
    let hub = (named.filter(|name| !is_embedded(name)))
        .chain(known.filter(|_| names.is_empty()))
        .map(|name| Ok(line(name, &HubModel::parse(name)?, &cache)));
    let mut lines = (embedded.map(|(name, kind, about)| Ok(embedded_line(name, kind, about))))
        .chain(hub)
        .collect::<Result<Vec<Line<'_>>>>()?;
    lines.retain(|line| args.asks_for(line, family.as_deref()));
    if *json {
        return print_json(&json!({ "models": lines }));
    }
    if names.is_empty() {
        let place = |family: Option<&str>| families.iter().position(|known| Some(*known) == family);
        lines.sort_by_key(|line| place(line.family));
    }
    let is_whole = args.family.is_some() || args.search.is_some() || args.all || !names.is_empty();
    let shown = |line: &&Line| is_whole || (line.common && line.supported) || line.cached;
    let mut table = Table::new([
        ("name", Side::Left),
        ("kind", Side::Left),
        ("size", Side::Right),
        ("family", Side::Left),
        ("about", Side::Left),
    ]);
    for line in lines.iter().filter(shown) {
        let size = match &line.size {
            _ if line.cached => "here".to_owned(),
            Some(size) => size.clone(),
            None => "not here".to_owned(),
        };
        let family = line.family.filter(|family| *family != line.kind);
        let about = match line.supported {
            true => line.about.to_owned(),
            false => format!("not supported yet: {}", line.about),
        };
        let [name, kind, family] = [line.name, line.kind, family.unwrap_or("")].map(str::to_owned);
        table.row([name, kind, size, family, about]);
    }
    table.print()?;
    if !names.is_empty() {
        return lines.iter().try_for_each(details);
    }
    let more = lines.iter().filter(|line| !shown(line)).count();
    if lines.is_empty() {
        eprint_line("no known model is like that; `phantasia models list --all` shows all of them");
    } else if more > 0 {
        let clips = families.iter().filter(|family| {
            let is_clip = |line: &Line| line.kind == "clip" && line.family == Some(family);
            lines.iter().any(is_clip)
        });
        let clips: Vec<&str> = clips.copied().collect();
        eprint_line(format_args!(
            "{more} more CLIPs: `models list --all`, `--search TEXT`, or `--family` with one of {}",
            clips.join(", ")
        ));
    }
    Ok(())
}

impl ListArgs {
    fn asks_for(&self, line: &Line, family: Option<&str>) -> bool {
        let of_family = |family: &str| {
            line.family == Some(family) || (line.family.is_none() && line.kind == family)
        };
        let has_words = |text: &String| {
            let fields = ([line.name, line.kind, line.about].into_iter())
                .chain(line.aliases.iter().map(String::as_str))
                .chain(line.family)
                .chain(line.licence)
                .chain(line.repository.as_deref());
            let all = fields.collect::<Vec<_>>().join("\n").to_lowercase();
            (text.to_lowercase().split_whitespace()).all(|word| all.contains(word))
        };
        family.is_none_or(of_family) && self.search.iter().all(has_words)
    }
}

/// Prints what the cache holds of a model.
fn details(line: &Line<'_>) -> Result<()> {
    let (name, Some(repository)) = (line.name, &line.repository) else {
        return Ok(());
    };
    print_line(format_args!("\n{name}: repository {repository}"))?;
    if let Some(licence) = line.licence {
        print_line(format_args!("  licence: {licence}"))?;
    }
    if let Some((image, text)) = line.inputs {
        print_line(format_args!(
            "  takes pictures of {image} x {image} pixels, and texts of up to {text} tokens"
        ))?;
    }
    if !line.aliases.is_empty() {
        print_line(format_args!("  also called {}", line.aliases.join(", ")))?;
    }
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
        family: None,
        supported: true,
        cached: true,
        embedded: true,
        repository: None,
        revision: None,
        megabytes: None,
        parameters: None,
        architecture: None,
        quick_gelu: None,
        preprocess: None,
        licence: None,
        about,
        inputs: None,
        common: true,
        size: None,
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
        family: model.map(Model::family),
        supported: model.is_none_or(|model| model.supported),
        cached: path.is_some(),
        embedded: false,
        repository: Some(hub.repository.clone()),
        revision: hub.revision.clone(),
        megabytes: model.and_then(|model| model.megabytes),
        parameters: (model.and_then(|model| model.parameters))
            .map(|thousands| thousands.map(|count| u64::from(count) * 1000)),
        architecture: model.and_then(|model| model.architecture.as_deref()),
        quick_gelu: (model.filter(|model| model.architecture.is_some())).map(Model::is_quick_gelu),
        preprocess: model.and_then(Model::preprocessing),
        licence: model.map(|model| model.licence.as_str()),
        about: model.map_or("not in the table of known models", |model| &model.about),
        inputs: inputs(model, path.as_deref()),
        common: model.is_some_and(|model| model.common),
        size: model.and_then(Model::size),
        path: path.map(|path| path.display().to_string()),
        note,
        snapshots: snapshots.map(state).collect(),
    }
}

/// The side of a CLIP's pictures and its longest text, by the configuration of its architecture, or else by its files.
fn inputs(model: Option<&Model>, path: Option<&Path>) -> Option<(u64, u64)> {
    if let Some(configuration) = model.and_then(Model::configuration) {
        let or = |value: &Value, default| {
            if value.is_null() {
                Some(default)
            } else {
                value.as_u64()
            }
        };
        // what open_clip takes where the configuration does not say
        let image = or(&configuration["vision_cfg"]["image_size"], 224)?;
        return Some((image, or(&configuration["text_cfg"]["context_length"], 77)?));
    }
    let (_, config) = ClipFiles::of_model(path?, model).ok()?.open().ok()?;
    let (image, text) = (config.vision.image_size, config.text.context);
    Some((image as u64, text as u64))
}
