//! Why a download fails.

use std::io;

use thiserror::Error;

/// Why a model could not be fetched. What was downloaded so far is kept, except for files that proved wrong.
#[derive(Debug, Error)]
pub enum FetchError {
    /// HF_HUB_OFFLINE is set.
    #[error(
        "`{repository}` cannot be fetched while {variable} is set: unset it to use the network; else, {advice}"
    )]
    Offline {
        /// The repository.
        repository: String,
        /// The variable that forbids it.
        variable: &'static str,
        /// What can be done about it, in several lines.
        advice: String,
    },
    /// The hub's address is not valid: what it is.
    #[error(
        "HF_ENDPOINT is not a valid hub address: `{0}`; it must begin with https:// or http://, such as https://huggingface.co"
    )]
    Endpoint(String),
    /// The hub cannot be reached: no network, no DNS, a refused connection.
    #[error("cannot reach {address}{from}: {what}; {advice}")]
    Unreachable {
        /// Its address.
        address: String,
        /// Where the redirect came from, as part of the sentence, if it is not the endpoint itself.
        from: String,
        /// What is wrong.
        what: String,
        /// What can be done about it, in several lines.
        advice: String,
    },
    /// The environment names a proxy that cannot be used: the variable and its value, without a password.
    #[error(
        "{0} is not a usable proxy address: `{1}`; supported are http://, https://, socks4://, socks5:// and socks5h://"
    )]
    Proxy(String, String),
    /// The environment names certificates that cannot be read.
    #[error("{variable}: cannot read certificates from {path}: {what}")]
    Certificates {
        /// The variable.
        variable: &'static str,
        /// Its value.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The hub redirects to an address that is not followed.
    #[error(
        "{url} redirects to {target}, which is not followed: {why}; HF_ENDPOINT sets the hub (now {endpoint}, by default https://huggingface.co)"
    )]
    Redirect {
        /// What was answers for.
        url: String,
        /// The target of the redirect.
        target: String,
        /// Why it is not followed.
        why: &'static str,
        /// The hub.
        endpoint: String,
    },
    /// There is no home folder to put the cache in.
    #[error("there is no folder for downloads: set HF_HOME")]
    NoCache,
    /// A file is not there, in any of the revisions.
    #[error("{endpoint} has no {file} in `{repository}`{revision}")]
    NotFound {
        /// The hub.
        endpoint: String,
        /// The repository.
        repository: String,
        /// The files that were looked for.
        file: String,
        /// The revision that was answers for, as part of the sentence.
        revision: String,
    },
    /// The repository is private or gated.
    #[error(
        "{endpoint} requires authorization for `{repository}` ({status}): if the name is right, the repository is private or gated; accept its terms at {endpoint}/{repository} and set HF_TOKEN to an access token{token}"
    )]
    Unauthorized {
        /// The hub.
        endpoint: String,
        /// The repository.
        repository: String,
        /// 401 or 403.
        status: u16,
        /// What is known of the token, as part of the sentence.
        token: &'static str,
    },
    /// The hub answers with an error: the address and the status.
    #[error("{0} answers {1}")]
    Status(String, u16),
    /// The hub's answer lacks what the protocol requires: the address and what is wrong with the answer.
    #[error("{0} is not a file on a hub: {1}")]
    Protocol(String, String),
    /// The connection failed repeatedly: the address and what is wrong.
    #[error("cannot reach {0}: {1}; fetching it again resumes the download")]
    Network(String, String),
    /// The hub sends nothing any more.
    #[error(
        "{url} stalled: no byte came for {seconds} s, {stalls} times; {done} of {total} bytes are kept, and fetching it again resumes from there (HF_HUB_DOWNLOAD_TIMEOUT sets the seconds)"
    )]
    Stalled {
        /// What was answers for.
        url: String,
        /// The timeout.
        seconds: f64,
        /// How often it stalled.
        stalls: u32,
        /// Bytes on this machine.
        done: u64,
        /// Bytes of the whole file.
        total: u64,
    },
    /// The downloaded file does not have the announced size.
    #[error("{url} has {expected} bytes, but {found} came; they were deleted")]
    Size {
        /// What was answers for.
        url: String,
        /// The announced size.
        expected: u64,
        /// The size of the download.
        found: u64,
    },
    /// The downloaded file does not have the announced checksum.
    #[error("the sha256 of {url} should be {expected}, but is {found}; the file was deleted")]
    Checksum {
        /// What was answers for.
        url: String,
        /// The announced checksum.
        expected: String,
        /// The checksum of the download.
        found: String,
    },
    /// A file could not be written: its path and what the system says.
    #[error("cannot write {0}: {1}")]
    Write(String, #[source] io::Error),
}
