//! Downloads from the Hugging Face hub into its cache.
//!
//! The current version of the crate `hf-hub` brings an asynchronous runtime, HTTP/2 and a chunk store of a hundred crates, and its smaller one
//! neither resumes the downloads of an earlier session nor checks what it downloads. The protocol for files is short: HEAD gives the commit, the
//! etag (of large files the sha256) and the size; GET with a range gives the contents.

mod blobs;
mod connection;
mod download;
mod error;
mod layouts;
mod proxy;
mod redirect;
mod timed_reader;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cache::{Cache, home, variable};
use super::files::shards;
use super::manual_download;
use super::request::FetchRequest;
pub use error::FetchError;

use blobs::{link_to, write_whole};
use connection::{Connection, MetadataError, header};
use download::Download;
use layouts::AvailableLayout;
use proxy::Proxies;

const ENDPOINT: &str = "https://huggingface.co";
/// How long the hub may send nothing, unless HF_HUB_DOWNLOAD_TIMEOUT says otherwise.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The state of a download, passed to a callback.
#[derive(Clone, Copy, Debug)]
pub struct DownloadProgress<'a> {
    /// The file.
    pub file: &'a str,
    /// Bytes on this machine, those of earlier sessions included.
    pub done: u64,
    /// Bytes of the whole file.
    pub total: u64,
}

/// The result of a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The folder that holds the files.
    pub folder: PathBuf,
    /// The files of the model in it, whether they were there before or not.
    pub files: Vec<String>,
    /// Bytes that came over the network.
    pub bytes: u64,
}

/// A hub, and the cache that its files are put in.
pub struct Hub {
    connection: Connection,
    cache: Cache,
    /// The variable that forbids downloads.
    offline: Option<&'static str>,
    notify: fn(&str),
}

/// What HEAD says about a file.
#[derive(Clone)]
struct FileMetadata {
    commit: String,
    etag: String,
    size: u64,
}

impl Hub {
    /// The hub of HF_ENDPOINT, with the token of HF_TOKEN or of the token file, the timeout of HF_HUB_DOWNLOAD_TIMEOUT (seconds above 0),
    /// the proxy of HTTPS_PROXY, HTTP_PROXY or ALL_PROXY except for the hosts in NO_PROXY, the certificates of SSL_CERT_FILE or
    /// REQUESTS_CA_BUNDLE, and the usual cache. If HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set, every download fails.
    pub fn from_env() -> Self {
        let text = |name: &str| {
            let value = std::env::var(name).ok()?.trim().to_owned();
            (!value.is_empty()).then_some(value)
        };
        let is_set = |name: &&str| {
            let value = text(name).map(|value| value.to_ascii_lowercase());
            value.is_some_and(|value| ["1", "true", "yes", "on"].contains(&value.as_str()))
        };
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        let mut hub = Self::new(&endpoint, Cache::from_env());
        let seconds = text("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|text| text.parse().ok());
        let timeout = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        if let Some(timeout) = timeout.filter(|timeout| !timeout.is_zero()) {
            hub = hub.with_timeout(timeout);
        }
        hub.offline = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]
            .into_iter()
            .find(is_set);
        let file = variable("HF_TOKEN_PATH").or_else(|| Some(home()?.join("token")));
        let token = text("HF_TOKEN")
            .or_else(|| text("HUGGING_FACE_HUB_TOKEN"))
            .or_else(|| fs::read_to_string(file?).ok());
        hub.connection.token = token
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty());
        hub.connection.proxies = Proxies::from_env();
        hub.connection.certificates = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"]
            .into_iter()
            .find_map(|name| Some((name, variable(name)?)));
        hub
    }

    /// The hub at that address, without a token and without a proxy.
    pub fn new(endpoint: &str, cache: Cache) -> Self {
        Self {
            connection: Connection::new(endpoint, READ_TIMEOUT),
            cache,
            offline: None,
            notify: |_| {},
        }
    }

    /// The same hub with a limit on the time until an answer, and until the next bytes of a file.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.connection.timeout = timeout;
        self
    }

    /// The same hub with a function that is given messages for the user while a slow connection is tried again.
    pub fn with_notices(self, notify: fn(&str)) -> Self {
        Self { notify, ..self }
    }

    /// Fetches those of a model's files that the cache lacks: the first layout that is complete in one of the revisions.
    ///
    /// # Errors
    /// [`FetchError`]; what was downloaded stays in the cache, and is not downloaded again.
    pub fn fetch(
        &self,
        request: &FetchRequest,
        progress: &mut dyn FnMut(DownloadProgress<'_>),
    ) -> Result<Fetched, FetchError> {
        let repository = &request.repository;
        if let Some(variable) = self.offline {
            return Err(FetchError::Offline {
                repository: repository.clone(),
                variable,
                advice: self.advice(request, &self.connection.endpoint),
            });
        }
        let root = (self.cache.repository(repository)).ok_or(FetchError::NoCache)?;
        let AvailableLayout {
            revision,
            commit,
            mut files,
            optional,
        } = self.available_layout(request)?;
        let mut fetched = Fetched {
            folder: root.join("snapshots").join(&commit),
            files: vec![],
            bytes: 0,
        };
        // small files first: a missing one is noticed before the long download
        let weights = files.pop();
        for file in optional {
            files.extend(
                (self.metadata(request, &commit, file)?).map(|found| (file.as_str(), found)),
            );
        }
        let mut take = |file: &str, metadata: &FileMetadata| {
            fetched.bytes += self.file(&root, repository, file, metadata, progress)?;
            fetched.files.push(file.to_owned());
            Ok::<_, FetchError>(())
        };
        for (file, metadata) in files.iter().chain(&weights) {
            take(file, metadata)?;
        }
        // of sharded weights, the file is the index, which names the shards
        let index = weights.map(|(file, _)| root.join("snapshots").join(&commit).join(file));
        for shard in index.iter().flat_map(|index| shards(index)) {
            let metadata = (self.metadata(request, &commit, &shard)?)
                .ok_or_else(|| self.not_found(request, &shard))?;
            take(&shard, &metadata)?;
        }
        if revision != commit {
            write_whole(&root.join("refs").join(revision), commit.as_bytes())?;
        }
        Ok(fetched)
    }

    fn not_found(&self, request: &FetchRequest, file: &str) -> FetchError {
        FetchError::NotFound {
            endpoint: self.connection.endpoint.clone(),
            repository: request.repository.clone(),
            file: file.to_owned(),
            revision: match request.revisions.as_slice() {
                [revision] if revision != "main" => format!(" at `{revision}`"),
                _ => String::new(),
            },
        }
    }

    /// What to do if an address cannot be reached.
    fn advice(&self, request: &FetchRequest, address: &str) -> String {
        let Connection {
            endpoint, proxies, ..
        } = &self.connection;
        let proxy = proxies.describe(address);
        manual_download::advice(request, endpoint, &proxy, self.cache.folder())
    }

    /// What the hub says about a file; `None` if it does not exist.
    fn metadata(
        &self,
        request: &FetchRequest,
        revision: &str,
        file: &str,
    ) -> Result<Option<FileMetadata>, FetchError> {
        let Connection { endpoint, .. } = &self.connection;
        let repository = &request.repository;
        let url = self.connection.url(repository, revision, file);
        let slow = |address: &str, what: &str| {
            let advice = self.advice(request, address);
            (self.notify)(&format!(
                "{address}: {what}; trying once more with a longer timeout; {advice}"
            ));
        };
        let response = (self.connection.metadata(&url, &slow)).map_err(|error| match error {
            MetadataError::Failed(error) => error,
            MetadataError::Unreachable(address, what) => FetchError::Unreachable {
                advice: self.advice(request, &address),
                from: if endpoint.starts_with(&address) {
                    String::new()
                } else {
                    format!(" (redirected from {endpoint})")
                },
                address,
                what,
            },
        })?;
        match response.status().as_u16() {
            404 => return Ok(None),
            status @ (401 | 403) => return Err(self.connection.unauthorized(repository, status)),
            200..=399 => {}
            status => return Err(FetchError::Status(url, status)),
        }
        let protocol = |what: &str| FetchError::Protocol(url.clone(), what.to_owned());
        // both become names of files
        let is_plain = |text: &String| {
            (1..=200).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let header = |name| header(&response, name);
        let commit = (header("x-repo-commit").filter(is_plain))
            .ok_or_else(|| protocol("its answer names no commit"))?;
        let etag = (header("x-linked-etag").or_else(|| header("etag")))
            .map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned())
            .filter(is_plain)
            .ok_or_else(|| protocol("its answer has no etag"))?;
        let size = (header("x-linked-size").or_else(|| header("content-length")))
            .and_then(|size| size.parse().ok())
            .ok_or_else(|| protocol("its answer has no size"))?;
        Ok(Some(FileMetadata { commit, etag, size }))
    }

    /// Brings one file into the cache; returns how many bytes came over the network.
    fn file(
        &self,
        root: &Path,
        repository: &str,
        file: &str,
        metadata: &FileMetadata,
        progress: &mut dyn FnMut(DownloadProgress<'_>),
    ) -> Result<u64, FetchError> {
        let is_there =
            |path: &Path| fs::metadata(path).is_ok_and(|found| found.len() == metadata.size);
        let link = root.join("snapshots").join(&metadata.commit).join(file);
        if is_there(&link) {
            return Ok(0);
        }
        let blob = root.join("blobs").join(&metadata.etag);
        let mut bytes = 0;
        if !is_there(&blob) {
            let download = Download {
                connection: &self.connection,
                url: self.connection.url(repository, &metadata.commit, file),
                repository,
                file,
                metadata,
                part: blob.with_file_name(format!("{}.incomplete", metadata.etag)),
            };
            bytes = download.run(&blob, progress)?;
        }
        link_to(&blob, &link)?;
        Ok(bytes)
    }
}
