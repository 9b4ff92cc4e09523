//! The download of one file, resumed after interruptions and checked at the end.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::blobs::{create_folder, sha256, written};
use super::connection::{Connection, Failure, MAX_ATTEMPTS, pause};
use super::error::FetchError;
use super::redirect::Purpose;
use super::timed_reader::TimedReader;
use super::{DownloadProgress, FileMetadata};

/// A stalled download is resumed; after this many stalls without a byte in between it is given up.
const MAX_STALLS: u32 = 2;

/// One file to be downloaded.
pub struct Download<'a> {
    pub connection: &'a Connection,
    pub url: String,
    pub repository: &'a str,
    pub file: &'a str,
    pub metadata: &'a FileMetadata,
    /// Where its bytes go until they are complete.
    pub part: PathBuf,
}

/// Why a request did not bring the rest of the file.
enum Interruption {
    /// Another request may succeed.
    Retry(String),
    /// Nothing came any more.
    Stalled,
    /// Another request would not help.
    Fatal(FetchError),
}

impl Download<'_> {
    /// Downloads what is missing, checks the whole and renames it to `blob`; returns how many bytes came.
    pub fn run(
        &self,
        blob: &Path,
        progress: &mut dyn FnMut(DownloadProgress<'_>),
    ) -> Result<u64, FetchError> {
        create_folder(&self.part)?;
        let total = self.metadata.size;
        let mut came = 0;
        let (mut attempt, mut stalls) = (0, 0);
        loop {
            let before = self.done();
            let outcome = if before < total {
                self.append(before, progress)
            } else {
                Ok(())
            };
            let done = self.done();
            came += done.saturating_sub(before);
            match outcome {
                Ok(()) if done >= total || total == 0 => break,
                Err(Interruption::Fatal(error)) => return Err(error),
                // as long as bytes come, it is tried again
                _ if done > before => (attempt, stalls) = (0, 0),
                Err(Interruption::Stalled) => stalls += 1,
                Ok(()) | Err(Interruption::Retry(_)) => attempt += 1,
            }
            if stalls >= MAX_STALLS {
                return Err(FetchError::Stalled {
                    url: self.url.clone(),
                    seconds: self.connection.timeout.as_secs_f64(),
                    stalls,
                    done,
                    total,
                });
            }
            if attempt >= MAX_ATTEMPTS {
                return Err(FetchError::Network(
                    self.url.clone(),
                    match outcome {
                        Err(Interruption::Retry(what)) => what,
                        _ => format!("only {done} of {total} bytes came"),
                    },
                ));
            }
            std::thread::sleep(pause(attempt));
        }
        self.check()?;
        fs::rename(&self.part, blob).map_err(|source| written(blob, source))?;
        Ok(came)
    }

    /// How many bytes are there.
    fn done(&self) -> u64 {
        fs::metadata(&self.part).map_or(0, |found| found.len())
    }

    /// Requests and writes the file from a byte on.
    fn append(
        &self,
        from: u64,
        progress: &mut dyn FnMut(DownloadProgress<'_>),
    ) -> Result<(), Interruption> {
        let response = self.connection.request(Purpose::Content, &self.url, from);
        let response = response.map_err(|failure| match failure {
            Failure::Connection(_, ureq::Error::Timeout(_)) => Interruption::Stalled,
            Failure::Connection(_, error) => Interruption::Retry(error.to_string()),
            Failure::Final(error) => Interruption::Fatal(error),
        })?;
        let written = |source| Interruption::Fatal(written(&self.part, source));
        let resumes = match response.status().as_u16() {
            206 => true,
            200 => false,
            // the range is not satisfiable: what is there does not belong to the file
            416 => {
                fs::remove_file(&self.part).map_err(written)?;
                return Err(Interruption::Retry("it has no such part".to_owned()));
            }
            status @ (401 | 403) => {
                let error = self.connection.unauthorized(self.repository, status);
                return Err(Interruption::Fatal(error));
            }
            status @ (500..600 | 429) => {
                return Err(Interruption::Retry(format!("it answers {status}")));
            }
            status => {
                let error = FetchError::Status(self.url.clone(), status);
                return Err(Interruption::Fatal(error));
            }
        };
        let mut output = (OpenOptions::new().create(true))
            .append(resumes)
            .write(!resumes)
            .truncate(!resumes)
            .open(&self.part)
            .map_err(written)?;
        let total = self.metadata.size;
        let mut done = if resumes { from } else { 0 };
        // one byte more than announced is enough to notice that there are too many
        let input = (response.into_body().into_reader()).take(total + 1 - done);
        let input = TimedReader::new(input, self.connection.timeout)
            .map_err(|error| Interruption::Retry(error.to_string()))?;
        loop {
            let file = self.file;
            progress(DownloadProgress { file, done, total });
            let piece = input.next().map_err(|error| match error.kind() {
                io::ErrorKind::TimedOut => Interruption::Stalled,
                _ => Interruption::Retry(error.to_string()),
            })?;
            let Some(piece) = piece else {
                return output.sync_all().map_err(written);
            };
            output.write_all(&piece).map_err(written)?;
            done += piece.len() as u64;
        }
    }

    /// Checks the size and, of large files, the checksum; a wrong file is deleted.
    fn check(&self) -> Result<(), FetchError> {
        let read = |source| written(&self.part, source);
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&self.part)
            .map_err(read)?;
        let FileMetadata { size, etag, .. } = self.metadata;
        let found = file.metadata().map_err(read)?.len();
        let url = self.url.clone();
        let error = if found != *size {
            let expected = *size;
            FetchError::Size {
                url,
                expected,
                found,
            }
        } else if etag.len() == 64 {
            let found = sha256(&mut file).map_err(read)?;
            if found.eq_ignore_ascii_case(etag) {
                return Ok(());
            }
            let expected = etag.clone();
            FetchError::Checksum {
                url,
                expected,
                found,
            }
        } else {
            // only the etag of a large file is its sha256; that of a small one is git's, so its size has to do
            return Ok(());
        };
        fs::remove_file(&self.part).map_err(read)?;
        Err(error)
    }
}
