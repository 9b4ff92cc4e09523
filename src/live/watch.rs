//! Watches a recipe's file during its render, so that changes in it take effect.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::{Command, Severity};
use crate::recipe::{Edit, Recipe, RecipeError};

/// Editors write a file in several operations. It is read once nothing has happened for this long.
const SETTLE: Duration = Duration::from_millis(150);
const UNREADABLE: &str = "the recipe has an error; the render continues with it as it was";
const REST: &str = "of the recipe's changes, those of prompts and terms take effect now, the others when it is rendered again";

/// Watches a file until it is dropped.
pub struct RecipeWatch {
    // dropping it closes the channel, which ends the thread
    _watcher: RecommendedWatcher,
}

impl RecipeWatch {
    /// Sends an edit for every change of the prompts and terms in the file. `read` reads the recipe as the render did, flags
    /// included. `complain` is called about a recipe that cannot be read, and about changes that cannot take effect now.
    ///
    /// # Errors
    /// When the system cannot watch the file's folder.
    pub fn start(
        path: &Path,
        mut now: Recipe,
        commands: SyncSender<Command>,
        mut read: impl FnMut() -> Result<Recipe, RecipeError> + Send + 'static,
        mut complain: impl FnMut(&str) + Send + 'static,
    ) -> Result<Self> {
        let (sender, events) = channel();
        let context = || format!("cannot watch {}", path.display());
        let mut watcher = notify::recommended_watcher(sender).with_context(context)?;
        // not the file, because editors replace it
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        let folder = folder.unwrap_or(Path::new("."));
        (watcher.watch(folder, RecursiveMode::NonRecursive)).with_context(context)?;
        let name = path.file_name().map(ToOwned::to_owned);
        let origin = path.display().to_string();
        std::thread::Builder::new()
            .name("recipe-watch".to_owned())
            .spawn(move || {
                let concerns = |event: &notify::Event| {
                    let mut names = event.paths.iter().map(|path| path.file_name());
                    !event.kind.is_access() && names.any(|other| other == name.as_deref())
                };
                while wait(&events, concerns) {
                    let command = match read() {
                        Ok(fresh) => {
                            let (edit, is_all) = changes(&now, &fresh);
                            if !is_all {
                                complain(REST);
                            }
                            now = fresh;
                            if edit.is_empty() {
                                continue;
                            }
                            Command::Edit(edit).at(&origin)
                        }
                        Err(error) => {
                            complain(&format!("{error}\n{UNREADABLE}"));
                            Command::Report(Severity::Error, UNREADABLE.to_owned())
                        }
                    };
                    if commands.send(command).is_err() {
                        return;
                    }
                }
            })
            .with_context(context)?;
        Ok(Self { _watcher: watcher })
    }
}

/// What changes from one recipe to another as an edit, and whether that is all that changes.
fn changes(now: &Recipe, fresh: &Recipe) -> (Edit, bool) {
    let edit = Edit {
        prompts: (fresh.prompts != now.prompts).then(|| fresh.prompts.clone()),
        terms: (fresh.terms != now.terms).then(|| fresh.terms.clone()),
        ..Edit::default()
    };
    let rest = Recipe {
        prompts: now.prompts.clone(),
        terms: now.terms.clone(),
        ..fresh.clone()
    };
    (edit, rest == *now)
}

/// Waits until the file has changed and then nothing has happened for a moment; false once the watcher is gone.
fn wait(
    events: &Receiver<notify::Result<notify::Event>>,
    concerns: impl Fn(&notify::Event) -> bool,
) -> bool {
    let mut changes = events.iter().flatten();
    if !changes.any(|event| concerns(&event)) {
        return false;
    }
    loop {
        match events.recv_timeout(SETTLE) {
            Ok(_) => {}
            Err(error) => return error == RecvTimeoutError::Timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex, mpsc::sync_channel};

    /// A recipe in a folder, its watch, what it sends and what it complains about.
    struct Watched {
        path: PathBuf,
        commands: Receiver<Command>,
        complaints: Arc<Mutex<Vec<String>>>,
        _watch: RecipeWatch,
        _folder: tempfile::TempDir,
    }

    fn watched(text: &str) -> Watched {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("r.yaml");
        fs::write(&path, text).expect("a file");
        let (sender, commands) = sync_channel(8);
        let complaints = Arc::new(Mutex::new(vec![]));
        let sink = Arc::clone(&complaints);
        let read = {
            let path = path.clone();
            move || Recipe::load(&path)
        };
        let now = Recipe::load(&path).expect("a recipe");
        let watch = RecipeWatch::start(&path, now, sender, read, move |line| {
            sink.lock().expect("the lock").push(line.to_owned());
        });
        Watched {
            path,
            commands,
            complaints,
            _watch: watch.expect("a watch"),
            _folder: folder,
        }
    }

    fn next(watched: &Watched) -> Command {
        let wait = Duration::from_secs(20);
        watched.commands.recv_timeout(wait).expect("a command")
    }

    #[test]
    fn changed_prompts_are_sent() {
        let watched = watched("prompts: a cat\n");
        fs::write(&watched.path, "prompts: a dog\nterms: { mean: 0.5 }\n").expect("a file");
        let dog = vec![crate::recipe::Prompt::new("a dog")];
        let command = next(&watched);
        let (Command::Edit(edit), Command::Located { origin, .. }) = (command.plain(), &command)
        else {
            panic!("no edit");
        };
        assert!(origin.ends_with("r.yaml"), "{origin}");
        assert_eq!(edit.prompts, Some(dog));
        assert!(
            edit.terms
                .as_ref()
                .is_some_and(|terms| terms.mean.is_some())
        );
    }

    #[test]
    fn a_broken_file_is_reported_and_the_next_valid_one_takes_effect() {
        let watched = watched("prompts: a cat\n");
        fs::write(&watched.path, "prompts: [\n").expect("a file");
        assert!(matches!(
            next(&watched),
            Command::Report(Severity::Error, _)
        ));
        let told = watched.complaints.lock().expect("the lock").concat();
        assert!(told.contains("r.yaml:"), "{told}");
        // as editors do: another file takes its name
        let other = watched.path.with_extension("new");
        fs::write(&other, "prompts: a fox\n").expect("a file");
        fs::rename(&other, &watched.path).expect("a file");
        let fox = vec![crate::recipe::Prompt::new("a fox")];
        let edit = Edit {
            prompts: Some(fox),
            ..Edit::default()
        };
        assert_eq!(next(&watched).plain(), &Command::Edit(edit));
    }
}
