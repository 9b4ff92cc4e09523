//! Downloads models, and checks before a command begins its work that the models it needs are on this machine.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::{Result, bail};
use phantasia::clip::files::ClipFiles;
use phantasia::models::{
    FetchRequest, Hub, HubModel, Model, ModelKind, ModelRef, ResolveError, resolve,
};
use phantasia::recipe::{FileKind, Recipe};

use super::super::console::eprint_line;
use super::super::progress::Progress;

/// A client of the Hugging Face Hub, configured by the environment. It reports slow connections on standard error.
fn hub() -> Hub {
    Hub::from_env().with_notices(|text| eprint_line(text))
}

/// Downloads a model, and the shared tokenizer where it needs one. Returns the folder that it lies in.
pub(super) fn fetch(name: &str, quiet: bool) -> Result<PathBuf> {
    let hub = hub();
    let request = FetchRequest::parse(name)?;
    if let Ok(ModelRef::Hub(HubModel {
        model: Some(model), ..
    })) = ModelRef::parse(name)
        && model.is_non_commercial()
    {
        eprint_line(format_args!(
            "`{}` is for non-commercial use only; its licence: {}",
            model.name, model.licence
        ));
    }
    let folder = download(&hub, &request, quiet)?;
    fetch_tokenizer(&hub, name, quiet)?;
    Ok(folder)
}

/// Downloads the tokenizer of another repository, such as the one that CLIPs share, where a model has none of its own.
fn fetch_tokenizer(hub: &Hub, name: &str, quiet: bool) -> Result<()> {
    let Ok(model) = resolve(name, ModelKind::Clip) else {
        return Ok(());
    };
    let files = |path: PathBuf| ClipFiles::of_model(&path, model.model).ok();
    let has = || (model.path.and_then(files)).is_some_and(|files| files.tokenizer.is_some());
    match model.model.and_then(Model::tokenizer_repository) {
        Some(other) if !has() => download(hub, &FetchRequest::tokenizer(other), quiet).map(drop),
        _ => Ok(()),
    }
}

/// Ensures that models are on this machine before any work begins. Those that are not are downloaded with `yes`.
///
/// # Errors
/// When models are missing, which are named, or one cannot be downloaded.
pub fn ensure(names: impl IntoIterator<Item = String>, yes: bool, quiet: bool) -> Result<()> {
    let mut asked = HashSet::new();
    let names: Vec<String> = (names.into_iter())
        .filter(|name| asked.insert(name.clone()))
        .collect();
    // before anything is downloaded
    for name in &names {
        if let Ok(ModelRef::Hub(hub)) = ModelRef::parse(name) {
            hub.check_supported(name)?;
        }
    }
    let mut missing = vec![];
    for name in names {
        match resolve(&name, None) {
            Ok(model) => {
                model.note.into_iter().for_each(eprint_line);
                if yes {
                    fetch_tokenizer(&hub(), &name, quiet)?;
                }
            }
            Err(ResolveError::Missing { .. }) if yes => drop(fetch(&name, quiet)?),
            Err(error @ ResolveError::Missing { .. }) => missing.push(error),
            // loading it reports this in more detail
            Err(
                ResolveError::Unknown { .. }
                | ResolveError::UnknownTag { .. }
                | ResolveError::OtherKind { .. }
                | ResolveError::WrongKind { .. }
                | ResolveError::Revision { .. }
                | ResolveError::Unsupported { .. }
                | ResolveError::Embedded { .. },
            ) => {}
        }
    }
    match missing.as_slice() {
        [] => Ok(()),
        [error] => bail!("{error}; or add --yes, and it is downloaded first"),
        several => bail!(all_missing(several)),
    }
}

/// What to do about several models that are not on this machine, each on a line of its own.
fn all_missing(errors: &[ResolveError]) -> String {
    let mut lines = vec![format!("{} models are not on this machine:", errors.len())];
    let mut fetch = "`phantasia models fetch".to_owned();
    for error in errors {
        if let ResolveError::Missing {
            name,
            size,
            instead,
            cached,
        } = error
        {
            lines.push(format!("  `{name}`{size}{instead}{cached}"));
            fetch.extend([" ", name.as_str()]);
        }
    }
    lines.push(format!(
        "{fetch}` downloads them; or add --yes, and they are downloaded first"
    ));
    lines.join("\n")
}

/// Refuses names that are known to be no CLIP's, before anything is downloaded.
pub fn check_clips(names: &[String]) -> Result<()> {
    for name in names {
        // loading it reports a name that means nothing
        if let Ok(model) = ModelRef::parse(name) {
            model.check_kind(name, ModelKind::Clip)?;
        }
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
    check_clips(judges)?;
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
