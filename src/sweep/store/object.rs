//! A sweep in an object store: a run is painted in a temporary folder of this machine and uploaded, `result.json` last. A run without it is
//! not whole, and whoever paints that run again writes the same pictures.

use std::error::Error as _;
use std::fs::{self, File};
use std::future::{Future, ready};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path as Key;
use object_store::{
    BackoffConfig, Error, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, RetryConfig,
    WriteMultipart,
};
use tokio::runtime::{Builder, Runtime};
use url::Url;
use walkdir::WalkDir;

use super::folder::Folder;
use super::{Finished, Partial, Place, RESULT, RUNS, parsed};
use crate::run::RunFolder;

/// How often a request is repeated, and until when.
const RETRIES: usize = 8;
const PATIENCE: Duration = Duration::from_secs(60);
/// The shortest and the longest pause between, and how much longer one may be than that before it.
const PAUSES: BackoffConfig = BackoffConfig {
    init_backoff: Duration::from_millis(200),
    max_backoff: Duration::from_secs(10),
    base: 3.0,
};
/// Larger files are uploaded in parts of this size.
const PART: usize = 16 << 20;
/// Requests at a time.
const AT_ONCE: usize = 32;
const PARTS_AT_ONCE: usize = 4;

/// A prefix of an object store.
#[derive(Debug)]
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    /// What the user calls it.
    url: String,
    /// What the keys begin with; may be empty.
    prefix: String,
    /// Its tasks run while a request is waited for.
    runtime: Runtime,
    /// Where runs are painted.
    scratch: Folder,
    scratch_path: PathBuf,
}

impl Objects {
    /// The store of a URL, with what the environment says of it.
    pub(super) fn connect(text: &str) -> Result<Self> {
        let url = Url::parse(text).map_err(|error| anyhow!("this is no URL: {error}"))?;
        if url.query().is_some() || url.fragment().is_some() || url.password().is_some() {
            bail!(
                "the URL of a store has no `?`, no `#` and no password: credentials are read from environment variables"
            );
        }
        if url.host_str().unwrap_or_default().is_empty() {
            bail!("it names no bucket: {}://BUCKET/PREFIX", url.scheme());
        }
        // the one that downloads use; a provider that is there already does as well
        let _ = rustls::crypto::ring::default_provider().install_default();
        let retry = RetryConfig {
            backoff: PAUSES,
            max_retries: RETRIES,
            retry_timeout: PATIENCE,
        };
        let store: object_store::Result<Arc<dyn ObjectStore>> = match url.scheme() {
            "s3" => (AmazonS3Builder::from_env()
                .with_url(text)
                .with_retry(retry)
                .build())
            .map(|store| Arc::new(store) as _),
            "gs" => (GoogleCloudStorageBuilder::from_env().with_url(text))
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as _),
            "az" => (MicrosoftAzureBuilder::from_env().with_url(text))
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as _),
            other => bail!("there are no stores of {other}://, but s3://, gs:// and az://"),
        };
        let store = store.map_err(|error| anyhow!(told(&error)))?;
        let prefix = Key::from_url_path(url.path())
            .map_err(|error| anyhow!("this is no prefix of keys: {error}"))?;
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let scratch =
            std::env::temp_dir().join(format!("phantasia-sweep-{:016x}", hasher.finish()));
        Self::of(store, text, prefix.as_ref(), scratch)
    }

    /// A prefix of a store. Runs are painted in a folder that processes of the same sweep may share.
    fn of(store: Arc<dyn ObjectStore>, url: &str, prefix: &str, scratch: PathBuf) -> Result<Self> {
        Ok(Self {
            store,
            url: url.trim_end_matches('/').to_owned(),
            prefix: prefix.to_owned(),
            runtime: Builder::new_current_thread().enable_all().build()?,
            scratch: Folder::at(scratch.clone()),
            scratch_path: scratch,
        })
    }

    fn key(&self, name: &str) -> Key {
        Key::from(format!("{}/{name}", self.prefix))
    }

    /// Waits for a request. An error says what was done to which object.
    fn wait<T>(
        &self,
        action: &str,
        name: &str,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T> {
        let done = self.runtime.block_on(request);
        done.map_err(|error| anyhow!("cannot {action} {}: {}", self.location(name), told(&error)))
    }

    async fn get(&self, name: &str) -> object_store::Result<Option<Vec<u8>>> {
        match self.store.get(&self.key(name)).await {
            Ok(object) => Ok(Some(object.bytes().await?.to_vec())),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists the objects below a folder: for each, what `found` makes of its name from there.
    fn list<T>(
        &self,
        folder: &str,
        found: impl Fn(&str, &ObjectMeta) -> Option<T>,
    ) -> Result<Vec<T>> {
        let below = self.key(folder);
        let objects = self.store.list(Some(&below)).try_filter_map(|object| {
            let name = object.location.as_ref().strip_prefix(below.as_ref());
            let name = name.map(|name| name.trim_start_matches('/'));
            ready(Ok(name.and_then(|name| found(name, &object))))
        });
        self.wait("list", folder, objects.try_collect())
    }

    /// Uploads a file, whatever its size.
    async fn upload(&self, path: &Path, name: &str) -> object_store::Result<()> {
        let failed = |error: std::io::Error| Error::Generic {
            store: "upload",
            source: format!("cannot read {}: {error}", path.display()).into(),
        };
        let mut file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let key = self.key(name);
        if size <= PART as u64 {
            let mut bytes = vec![];
            file.read_to_end(&mut bytes).map_err(failed)?;
            return self.store.put(&key, bytes.into()).await.map(drop);
        }
        let upload = self.store.put_multipart(&key).await?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
        let mut buffer = vec![0; 1 << 20];
        let read = loop {
            if let Err(error) = upload.wait_for_capacity(PARTS_AT_ONCE).await {
                break Err(error);
            }
            match file.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(count) => upload.write(&buffer[..count]),
                Err(error) => break Err(failed(error)),
            }
        };
        if let Err(error) = read {
            // parts that stay are the store's to remove
            let _ = upload.abort().await;
            return Err(error);
        }
        upload.finish().await.map(drop)
    }

    /// Writes an object unless there is one, where the store can tell; says whether there was none.
    async fn create(&self, name: &str, bytes: Vec<u8>) -> object_store::Result<bool> {
        let key = self.key(name);
        let put = self
            .store
            .put_opts(&key, bytes.clone().into(), PutMode::Create.into());
        match put.await {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(false),
            // one that knows no conditions; both processes would write the same
            Err(_) => self.store.put(&key, bytes.into()).await.map(|_| true),
        }
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        // only where they are empty
        let _ = fs::remove_dir(self.scratch_path.join(RUNS));
        let _ = fs::remove_dir(&self.scratch_path);
    }
}

impl Place for Objects {
    fn location(&self, name: &str) -> String {
        match name {
            "" => self.url.clone(),
            name => format!("{}/{name}", self.url),
        }
    }

    fn exists(&self) -> Result<bool> {
        let below = self.key("");
        let mut objects = self.store.list(Some(&below));
        let first = async { objects.next().await.transpose() };
        Ok(self.wait("list", "", first)?.is_some())
    }

    fn prepare(&self) -> Result<()> {
        let path = self.scratch_path.join(RUNS);
        fs::create_dir_all(&path).with_context(|| {
            format!(
                "cannot create {}, where runs are painted (the variable TMPDIR says where that is)",
                path.display()
            )
        })
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let key = self.key(name);
        let put = self.store.put(&key, bytes.to_vec().into());
        self.wait("write", name, put).map(drop)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.wait("read", name, self.get(name))
    }

    fn read_all(&self, names: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        let get = |name: &String| {
            let name = name.clone();
            async move { self.get(&name).await.map_err(|error| (name, error)) }
        };
        let all = futures_util::stream::iter(names.iter().map(get)).buffered(AT_ONCE);
        let read = self.runtime.block_on(all.try_collect());
        read.map_err(|(name, error): (String, Error)| {
            anyhow!("cannot read {}: {}", self.location(&name), told(&error))
        })
    }

    fn remove(&self, name: &str) -> Result<()> {
        let key = self.key(name);
        self.wait("remove", name, self.store.delete(&key))
    }

    fn files(&self, folder: &str) -> Result<Vec<String>> {
        self.list(folder, |name, _| Some(name.to_owned()))
    }

    fn placed(&self) -> Result<Vec<String>> {
        self.list(RUNS, |name, _| {
            let (run, file) = name.split_once('/')?;
            (file == RESULT).then(|| run.to_owned())
        })
    }

    fn is_whole(&self, run: &str) -> Result<bool> {
        let name = format!("{RUNS}/{run}/{RESULT}");
        let key = self.key(&name);
        let head = async {
            match self.store.head(&key).await {
                Ok(_) => Ok(true),
                Err(Error::NotFound { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        };
        self.wait("read", &name, head)
    }

    fn results(&self, runs: &[String]) -> Result<Vec<Option<Finished>>> {
        let file = |run: &String| format!("{RUNS}/{run}/{RESULT}");
        let files: Vec<String> = runs.iter().map(file).collect();
        Ok(parsed(self.read_all(&files)?))
    }

    fn begin(&self, run: &str, device: &str) -> Result<RunFolder> {
        // another process may just have ended, and removed it
        self.prepare()?;
        self.scratch.begin(run, device)
    }

    fn take_over(&self, partial: &Partial) -> Option<RunFolder> {
        self.scratch.take_over(partial)
    }

    fn put(&self, partial: &Path, run: &str) -> Result<bool> {
        if self.is_whole(run)? {
            return Ok(false);
        }
        let files = WalkDir::new(partial).sort_by_file_name();
        for file in files {
            let file = file?;
            let below = file.path().strip_prefix(partial)?;
            let parts: Option<Vec<&str>> = below.iter().map(|part| part.to_str()).collect();
            let parts = parts.with_context(|| format!("{} is no UTF-8", below.display()))?;
            let is_hidden = parts.iter().any(|part| part.starts_with('.'));
            if !file.file_type().is_file() || is_hidden || parts == [RESULT] {
                continue;
            }
            let name = format!("{RUNS}/{run}/{}", parts.join("/"));
            self.wait("write", &name, self.upload(file.path(), &name))?;
        }
        let name = format!("{RUNS}/{run}/{RESULT}");
        let result = fs::read(partial.join(RESULT))?;
        self.wait("write", &name, self.create(&name, result))
    }

    fn partials(&self) -> Vec<Partial> {
        self.scratch.partials()
    }

    fn size(&self, run: &str) -> Result<u64> {
        let sizes = self.list(&format!("{RUNS}/{run}"), |_, object| Some(object.size))?;
        Ok(sizes.iter().sum())
    }
}

/// An error with its causes, each of which is said once, on one line.
fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    // of the server's document what it is about
    if let Some((before, document)) = text.split_once("<?xml") {
        let part = |name: &str| {
            let (_, rest) = document.split_once(&format!("<{name}>"))?;
            Some(rest.split_once("</")?.0)
        };
        if let Some(code) = part("Code") {
            text = format!("{before}{code}: {}", part("Message").unwrap_or_default());
        }
    }
    if text.contains("URL scheme is not allowed") {
        text += " (AWS_ALLOW_HTTP=true allows http)";
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use object_store::memory::InMemory;

    use super::super::{Finished, PlannedRun, Store};
    use super::*;

    const RUN: &str = "0001-abc";

    fn store(objects: &Arc<InMemory>, scratch: &Path) -> Store {
        let objects = Arc::clone(objects) as Arc<dyn ObjectStore>;
        let place = Objects::of(objects, "s3://bucket/a/", "a", scratch.to_owned());
        let place = place.expect("a runtime");
        place.prepare().expect("a folder");
        Store {
            place: Box::new(place),
        }
    }

    fn finished() -> Finished {
        Finished {
            seed: 1,
            steps: 2,
            steps_before: 0,
            seconds: 4.0,
            loss: 0.5,
            similarity: BTreeMap::new(),
            contrast: 0.1,
            warning: None,
        }
    }

    /// Paints a run of two files, one of which needs parts.
    fn paint(store: &Store) -> RunFolder {
        let folder = store.begin(RUN, "cpu").expect("a folder");
        let path = folder.path();
        fs::create_dir(path.join("frames")).expect("a folder");
        fs::write(path.join("frames/1.png"), "picture").expect("a file");
        fs::write(path.join("large"), vec![7; PART + 5]).expect("a file");
        folder
    }

    #[test]
    fn a_run_is_whole_when_its_result_is_there_and_the_first_one_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let objects = Arc::new(InMemory::new());
        let (one, other) = (
            store(&objects, folder.path()),
            store(&objects, folder.path()),
        );
        assert!(!one.exists().expect("a listing"));
        one.note_failure(RUN, "no memory").expect("an object");
        assert_eq!(
            other.failures().expect("a listing"),
            [RUN.to_owned()].into()
        );
        assert_eq!(
            other.failure(RUN).expect("an object"),
            Some("no memory".into())
        );
        // what a killed process has uploaded is not whole
        other
            .write("runs/0002-def/image.png", b"half")
            .expect("an object");
        let (first, second) = (paint(&one), paint(&other));
        assert!(one.placed().expect("a listing").is_empty());
        let put = |store: &Store, folder: &RunFolder| {
            store.put(folder.path(), RUN, &finished()).expect("objects")
        };
        assert!(put(&one, &first));
        assert!(!put(&other, &second));
        let placed = other.placed().expect("a listing");
        assert_eq!(placed, ["abc".to_owned()].into());
        assert!(other.failures().expect("a listing").is_empty());
        let (name, none) = (RUN.to_owned(), "0002-def".to_owned());
        let read = other.finished(&[name, none]).expect("objects");
        assert_eq!(read, [Some(finished()), None]);
        let run = PlannedRun {
            number: 1,
            name: RUN.to_owned(),
            values: vec![],
            models: vec![],
            video: None,
            steps: 2,
            text: None,
            choices: vec![],
        };
        let estimate = other.estimate([&run].into_iter()).expect("objects");
        let estimate = estimate.expect("a whole run");
        assert_eq!(estimate.step, 2.0);
        assert!(estimate.bytes > PART as f64);
        let bytes = other.place.read("runs/0001-abc/large").expect("an object");
        assert_eq!(bytes, Some(vec![7; PART + 5]));
        assert_eq!(one.location("plan.csv"), "s3://bucket/a/plan.csv");
        // what is painted is this machine's, and goes when nobody holds it
        drop((first, second));
        one.clean_all();
        drop((one, other));
        assert!(!folder.path().exists());
        fs::create_dir(folder.path()).expect("a folder");
    }

    #[test]
    fn a_result_that_is_there_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let place = Objects::of(objects, "s3://b", "", folder.path().join("s")).expect("a runtime");
        let create = |text: &str| {
            let create = place.create("plan.csv", text.into());
            place.wait("write", "plan.csv", create).expect("an object")
        };
        assert!(create("one"));
        assert!(!create("two"));
        assert_eq!(
            place.read("plan.csv").expect("an object"),
            Some(b"one".to_vec())
        );
        assert_eq!(place.files("").expect("a listing"), ["plan.csv"]);
    }

    #[test]
    fn urls_that_name_no_store_are_refused() {
        for (url, said) in [
            ("ftp://host/a", "s3://, gs:// and az://"),
            ("s3:///a", "names no bucket"),
            ("s3://bucket/a?x=1", "environment variables"),
            ("s3://bucket/a//b", "no prefix"),
        ] {
            let error = Objects::connect(url).expect_err("a refusal").to_string();
            assert!(error.contains(said), "{url}: {error}");
        }
    }
}
