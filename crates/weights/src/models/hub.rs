//! Downloads from the Hugging Face hub into its cache.
//!
//! The crate `hf-hub` would be the natural choice; its current version brings an asynchronous runtime, HTTP/2 and a chunk store of a hundred
//! crates, and its small one neither goes on with a download of the last session nor checks what it got. The protocol for files is
//! short: HEAD says the commit, the etag (of large files the sha256) and the size; GET with a range gives the bytes.

mod connection;
mod disk;
mod error;
mod offer;
mod proxy;
mod redirect;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::http::StatusCode;

use super::cache::{home, variable};
use super::patience::Patient;
use super::{Cache, Wanted, by_hand, divided};
pub use error::FetchError;
pub use redirect::HOSTS;

use connection::{ATTEMPTS, Connection, Failure, NoAnswer, header, pause};
use disk::{create_folder, link_to, sha256, write_whole, written};
use offer::Offer;
use proxy::Proxies;
use redirect::Purpose;

const ENDPOINT: &str = "https://huggingface.co";
/// A download that falls silent is taken up again; after so many silences without a byte between them it is given up.
const SILENCES: u32 = 2;
/// How long no byte may come, where HF_HUB_DOWNLOAD_TIMEOUT does not say.
const PATIENCE: Duration = Duration::from_secs(60);

/// Told while a file comes.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The file.
    pub file: &'a str,
    /// Bytes that are there, those of earlier sessions among them.
    pub done: u64,
    /// Bytes of the whole file.
    pub total: u64,
}

/// What a download left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The folder that holds the files.
    pub folder: PathBuf,
    /// The files that it holds now, those that were there before among them.
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
    tell: fn(&str),
}

/// What HEAD says of a file.
#[derive(Clone)]
struct About {
    commit: String,
    etag: String,
    size: u64,
}

impl Hub {
    /// The hub of HF_ENDPOINT, with the token of HF_TOKEN or of the token file, the patience of HF_HUB_DOWNLOAD_TIMEOUT (seconds above 0),
    /// the proxy of HTTPS_PROXY, HTTP_PROXY or ALL_PROXY except for the hosts in NO_PROXY, the certificates of SSL_CERT_FILE or
    /// REQUESTS_CA_BUNDLE, and the usual cache; no hub where HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set.
    pub fn from_env() -> Self {
        let text = |name: &str| {
            std::env::var(name)
                .ok()
                .filter(|value| !value.trim().is_empty())
        };
        let file = variable("HF_TOKEN_PATH").or_else(|| Some(home()?.join("token")));
        let token = text("HF_TOKEN")
            .or_else(|| text("HUGGING_FACE_HUB_TOKEN"))
            .or_else(|| fs::read_to_string(file?).ok());
        let is_set = |name: &&str| {
            text(name).is_some_and(|value| {
                ["1", "true", "yes", "on"].contains(&value.trim().to_ascii_lowercase().as_str())
            })
        };
        let mut hub = Self::new(
            &text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned()),
            Cache::from_env(),
        );
        let seconds = text("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|text| text.trim().parse().ok());
        if let Some(patience) = seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .filter(|patience| !patience.is_zero())
        {
            hub = hub.with_patience(patience);
        }
        hub.offline = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]
            .into_iter()
            .find(is_set);
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
            connection: Connection::new(endpoint, PATIENCE),
            cache,
            offline: None,
            tell: |_| {},
        }
    }

    /// The same, that waits so long for an answer, and so long for the next byte of a file.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.connection.patience = patience;
        self
    }

    /// The same, with a function that is given messages for the user while a slow connection is tried again.
    pub fn telling(self, tell: fn(&str)) -> Self {
        Self { tell, ..self }
    }

    /// Fetches those of a model's files that the cache lacks: the first layout that is complete in one of the revisions.
    ///
    /// # Errors
    /// [`FetchError`]; what came whole or in part stays in the cache and is not fetched again.
    pub fn fetch(
        &self,
        wanted: &Wanted,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Fetched, FetchError> {
        let repository = &wanted.repository;
        if let Some(variable) = self.offline {
            return Err(FetchError::Offline {
                repository: repository.clone(),
                variable,
                ways: self.ways(wanted, &self.connection.endpoint),
            });
        }
        let root = self
            .cache
            .repository(repository)
            .ok_or(FetchError::NoCache)?;
        let Offer {
            revision,
            commit,
            mut files,
            optional,
        } = self.offer(wanted)?;
        let mut fetched = Fetched {
            folder: root.join("snapshots").join(&commit),
            files: vec![],
            bytes: 0,
        };
        // small files first: what would be missing is then known before the long wait
        let weights = files.pop();
        for &file in optional {
            files.extend((self.about(wanted, &commit, file)?).map(|about| (file, about)));
        }
        for (file, about) in files.into_iter().chain(weights) {
            fetched.take(file, self.file(&root, repository, file, &about, progress)?);
        }
        // sharded weights: the last file is the index, which names the shards
        let list = fetched.files.last().map(|file| fetched.folder.join(file));
        for part in list.map_or_else(BTreeSet::new, |list| divided::parts(&list)) {
            let about = (self.about(wanted, &commit, &part)?)
                .ok_or_else(|| self.not_found(wanted, &part))?;
            fetched.take(
                &part,
                self.file(&root, repository, &part, &about, progress)?,
            );
        }
        if revision != commit {
            write_whole(&root.join("refs").join(revision), commit.as_bytes())?;
        }
        Ok(fetched)
    }

    fn not_found(&self, wanted: &Wanted, file: &str) -> FetchError {
        FetchError::NotFound {
            endpoint: self.connection.endpoint.clone(),
            repository: wanted.repository.clone(),
            file: file.to_owned(),
            revision: match wanted.revisions.as_slice() {
                [revision] if revision != "main" => format!(" at `{revision}`"),
                _ => String::new(),
            },
        }
    }

    /// What to do if an address cannot be reached.
    fn ways(&self, wanted: &Wanted, address: &str) -> String {
        let Connection {
            endpoint, proxies, ..
        } = &self.connection;
        by_hand::ways(
            wanted,
            endpoint,
            &proxies.words(address),
            self.cache.folder(),
        )
    }

    /// What the hub says of a file; none where it has none.
    fn about(
        &self,
        wanted: &Wanted,
        revision: &str,
        file: &str,
    ) -> Result<Option<About>, FetchError> {
        let Connection { endpoint, .. } = &self.connection;
        let repository = &wanted.repository;
        let url = self.connection.url(repository, revision, file);
        let slow = |address: &str, what: &str| {
            let ways = self.ways(wanted, address);
            (self.tell)(&format!(
                "{address}: {what}; trying once more with a longer timeout; {ways}"
            ));
        };
        let response = (self.connection.about(&url, &slow)).map_err(|error| match error {
            NoAnswer::Failed(error) => error,
            NoAnswer::Unreachable(address, what) => FetchError::Unreachable {
                ways: self.ways(wanted, &address),
                from: if endpoint.starts_with(&address) {
                    String::new()
                } else {
                    format!(" (redirected from {endpoint})")
                },
                address,
                what,
            },
        })?;
        let status = response.status();
        match status.as_u16() {
            404 => return Ok(None),
            401 | 403 => return Err(self.unauthorized(repository, status)),
            200..=399 => {}
            status => return Err(FetchError::Status { url, status }),
        }
        let protocol = |what: &str| FetchError::Protocol {
            url: url.clone(),
            what: what.to_owned(),
        };
        let plain = |text: &String| {
            !text.is_empty()
                && text.len() <= 200
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let header = |name| header(&response, name);
        let commit = header("x-repo-commit")
            .filter(plain)
            .ok_or_else(|| protocol("its answer names no commit"))?;
        let etag = header("x-linked-etag").or_else(|| header("etag"));
        let etag = etag
            .map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned())
            .filter(plain)
            .ok_or_else(|| protocol("its answer has no etag"))?;
        let size = header("x-linked-size").or_else(|| header("content-length"));
        let size = size
            .and_then(|size| size.parse().ok())
            .ok_or_else(|| protocol("its answer has no size"))?;
        Ok(Some(About { commit, etag, size }))
    }

    fn unauthorized(&self, repository: &str, status: StatusCode) -> FetchError {
        FetchError::Unauthorized {
            endpoint: self.connection.endpoint.clone(),
            repository: repository.to_owned(),
            status: status.as_u16(),
            given: match self.connection.token {
                Some(_) => {
                    " that may read it; the one that is set may not (it is only sent to HF_ENDPOINT)"
                }
                None => "",
            },
        }
    }

    /// Brings one file into the cache; how many bytes came over the network.
    fn file(
        &self,
        root: &Path,
        repository: &str,
        file: &str,
        about: &About,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<u64, FetchError> {
        let link = root.join("snapshots").join(&about.commit).join(file);
        if fs::metadata(&link).is_ok_and(|there| there.len() == about.size) {
            return Ok(0);
        }
        let blob = root.join("blobs").join(&about.etag);
        let mut bytes = 0;
        if !fs::metadata(&blob).is_ok_and(|there| there.len() == about.size) {
            let url = self.connection.url(repository, &about.commit, file);
            bytes = self.download(&url, repository, file, &blob, about, progress)?;
        }
        link_to(&blob, &link)?;
        Ok(bytes)
    }

    fn download(
        &self,
        url: &str,
        repository: &str,
        file: &str,
        blob: &Path,
        about: &About,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<u64, FetchError> {
        let part = blob.with_file_name(format!("{}.incomplete", about.etag));
        create_folder(&part)?;
        let mut came = 0;
        let (mut attempt, mut silences) = (0, 0);
        loop {
            let before = fs::metadata(&part).map_or(0, |there| there.len());
            let outcome = match before.cmp(&about.size) {
                std::cmp::Ordering::Less => {
                    self.append(url, repository, file, &part, before, about.size, progress)
                }
                _ => Ok(()),
            };
            let now = fs::metadata(&part).map_or(0, |there| there.len());
            came += now.saturating_sub(before);
            match outcome {
                Ok(()) if now >= about.size || about.size == 0 => break,
                Err(Broken::For(error)) => return Err(error),
                // whoever gives something each time is asked again
                _ if now > before => (attempt, silences) = (0, 0),
                Err(Broken::Silent) => silences += 1,
                Ok(()) | Err(Broken::Here(_)) => attempt += 1,
            }
            if silences >= SILENCES {
                return Err(FetchError::Silent {
                    url: url.to_owned(),
                    seconds: self.connection.patience.as_secs_f64(),
                    silences,
                    done: now,
                    total: about.size,
                });
            }
            if attempt >= ATTEMPTS {
                let what = match outcome {
                    Err(Broken::Here(what)) => what,
                    _ => format!("only {now} of {} bytes came", about.size),
                };
                return Err(FetchError::Network {
                    url: url.to_owned(),
                    what,
                });
            }
            std::thread::sleep(pause(attempt));
        }
        self.finish(url, &part, blob, about)?;
        Ok(came)
    }

    /// Appends what is left of a file.
    #[expect(clippy::too_many_arguments, reason = "one request, spelled out")]
    fn append(
        &self,
        url: &str,
        repository: &str,
        file: &str,
        part: &Path,
        from: u64,
        total: u64,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), Broken> {
        let response =
            (self.connection.ask(Purpose::Bytes, url, from)).map_err(|failure| match failure {
                Failure::Connection(_, ureq::Error::Timeout(_)) => Broken::Silent,
                Failure::Connection(_, error) => Broken::Here(error.to_string()),
                Failure::Final(error) => Broken::For(error),
            })?;
        let status = response.status();
        let written = |source| Broken::For(written(part, source));
        let goes_on = match status.as_u16() {
            206 => true,
            200 => false,
            // what is there is no part of the file
            416 => {
                fs::remove_file(part).map_err(written)?;
                return Err(Broken::Here("it has no such part".to_owned()));
            }
            401 | 403 => return Err(Broken::For(self.unauthorized(repository, status))),
            500..600 | 429 => return Err(Broken::Here(format!("it answers {}", status.as_u16()))),
            status => {
                return Err(Broken::For(FetchError::Status {
                    url: url.to_owned(),
                    status,
                }));
            }
        };
        let mut options = OpenOptions::new();
        let mut output = match goes_on {
            true => options.append(true).create(true),
            false => options.write(true).truncate(true).create(true),
        }
        .open(part)
        .map_err(written)?;
        let mut done = if goes_on { from } else { 0 };
        // one byte more than announced is enough to know
        let input = (response.into_body().into_reader()).take(total + 1 - done);
        let input = Patient::new(input, self.connection.patience)
            .map_err(|error| Broken::Here(error.to_string()))?;
        loop {
            progress(Progress { file, done, total });
            let piece = input.next().map_err(|error| match error.kind() {
                io::ErrorKind::TimedOut => Broken::Silent,
                _ => Broken::Here(error.to_string()),
            })?;
            let Some(piece) = piece else {
                return output.sync_all().map_err(written);
            };
            output.write_all(&piece).map_err(written)?;
            done += piece.len() as u64;
        }
    }

    /// Checks what came, and gives it its name.
    fn finish(&self, url: &str, part: &Path, blob: &Path, about: &About) -> Result<(), FetchError> {
        let read = |source| written(part, source);
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(part)
            .map_err(read)?;
        let found = file.metadata().map_err(read)?.len();
        let away = || fs::remove_file(part).map_err(read);
        if found != about.size {
            away()?;
            return Err(FetchError::Size {
                url: url.to_owned(),
                expected: about.size,
                found,
            });
        }
        // the etag of a large file is its sha256; that of a small one is git's, and its size has to do
        if about.etag.len() == 64 {
            let checksum = sha256(&mut file).map_err(read)?;
            if !checksum.eq_ignore_ascii_case(&about.etag) {
                away()?;
                return Err(FetchError::Checksum {
                    url: url.to_owned(),
                    expected: about.etag.clone(),
                    found: checksum,
                });
            }
        }
        drop(file);
        fs::rename(part, blob).map_err(|source| written(blob, source))
    }
}

impl Fetched {
    fn take(&mut self, file: &str, bytes: u64) {
        self.files.push(file.to_owned());
        self.bytes += bytes;
    }
}

/// How a request ended that brought no whole file.
enum Broken {
    /// It may go better another time.
    Here(String),
    /// Nothing came any more; it may go on another time.
    Silent,
    /// It will not.
    For(FetchError),
}
