//! A recipe's file, watched while it renders: what a person changes in it takes effect.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::{Command, Severity};
use crate::recipe::{Recipe, RecipeError};

/// An editor writes a file in several goes: so long nothing must happen before it is read.
const SETTLE: Duration = Duration::from_millis(150);

/// Watches a file until it is dropped.
pub struct RecipeWatch {
    // it ends when it is dropped, and with it the channel and the thread
    _watcher: RecommendedWatcher,
}

impl RecipeWatch {
    /// Sends a command for every change of the prompts and terms in the file. `read` reads the recipe as the render did, flags and
    /// all; what cannot be read or cannot change while it renders is told to `complain`, and the render goes on as it was.
    ///
    /// # Errors
    /// When the system does not watch the file's folder.
    pub fn start(
        path: &Path,
        now: Recipe,
        commands: SyncSender<Command>,
        read: impl FnMut() -> Result<Recipe, RecipeError> + Send + 'static,
        complain: impl FnMut(&str) + Send + 'static,
    ) -> Result<Self> {
        let (sender, events) = channel();
        let context = || format!("cannot watch {}", path.display());
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<_>| {
            // nobody listens any more: the render is at its end
            let _ = sender.send(event);
        })
        .with_context(context)?;
        // editors replace the file: the folder is what stays
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        (watcher.watch(&folder, RecursiveMode::NonRecursive)).with_context(context)?;
        let name = path.file_name().map(ToOwned::to_owned);
        let mut follower = Follower {
            now,
            commands,
            read,
            complain,
        };
        std::thread::Builder::new()
            .name("recipe-watch".to_owned())
            .spawn(move || {
                let about = |event: &notify::Event| {
                    !event.kind.is_access()
                        && event
                            .paths
                            .iter()
                            .any(|path| path.file_name() == name.as_deref())
                };
                while wait(&events, about) {
                    if !follower.changed() {
                        return;
                    }
                }
            })
            .with_context(context)?;
        Ok(Self { _watcher: watcher })
    }
}

/// Waits until something happened to the file and then nothing for a moment; false once nothing will happen any more.
fn wait(
    events: &Receiver<notify::Result<notify::Event>>,
    about: impl Fn(&notify::Event) -> bool,
) -> bool {
    loop {
        match events.recv() {
            Ok(Ok(event)) if about(&event) => break,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    loop {
        match events.recv_timeout(SETTLE) {
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

struct Follower<R, C> {
    now: Recipe,
    commands: SyncSender<Command>,
    read: R,
    complain: C,
}

impl<R, C> Follower<R, C>
where
    R: FnMut() -> Result<Recipe, RecipeError>,
    C: FnMut(&str),
{
    /// Reads the file and sends what is different; false once nobody listens.
    fn changed(&mut self) -> bool {
        let fresh = match (self.read)() {
            Ok(fresh) => fresh,
            Err(error) => {
                (self.complain)(&format!("{error}\nthe recipe as it was goes on"));
                let short = "the recipe has a fault; as it was it goes on".to_owned();
                return (self.commands)
                    .send(Command::Say(Severity::Error, short))
                    .is_ok();
            }
        };
        let mut send = vec![];
        if fresh.prompts != self.now.prompts {
            send.push(Command::SetPrompts(fresh.prompts.clone()));
        }
        if fresh.terms != self.now.terms {
            send.push(Command::SetTerms(fresh.terms.clone()));
        }
        let rest = |recipe: &Recipe| Recipe {
            prompts: vec![],
            terms: self.now.terms.clone(),
            ..recipe.clone()
        };
        if rest(&fresh) != rest(&self.now) {
            (self.complain)(
                "of the recipe's changes, those of prompts and terms take effect now, the others when it is rendered again",
            );
        }
        self.now = fresh;
        send.into_iter()
            .all(|command| self.commands.send(command).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
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
        let told = Arc::clone(&complaints);
        let read = {
            let path = path.clone();
            move || Recipe::load(&path)
        };
        let now = Recipe::load(&path).expect("a recipe");
        let watch = RecipeWatch::start(&path, now, sender, read, move |line| {
            told.lock().expect("the lock").push(line.to_owned());
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
        assert_eq!(next(&watched), Command::SetPrompts(dog));
        assert!(matches!(next(&watched), Command::SetTerms(_)));
    }

    #[test]
    fn a_broken_file_is_told_and_the_next_good_one_counts() {
        let watched = watched("prompts: a cat\n");
        fs::write(&watched.path, "prompts: [\n").expect("a file");
        assert!(matches!(next(&watched), Command::Say(Severity::Error, _)));
        let told = watched.complaints.lock().expect("the lock").concat();
        assert!(told.contains("r.yaml:"), "{told}");
        // as editors do: another file takes its name
        let aside = watched.path.with_extension("new");
        fs::write(&aside, "prompts: a fox\n").expect("a file");
        fs::rename(&aside, &watched.path).expect("a file");
        let fox = vec![crate::recipe::Prompt::new("a fox")];
        assert_eq!(next(&watched), Command::SetPrompts(fox));
    }
}
