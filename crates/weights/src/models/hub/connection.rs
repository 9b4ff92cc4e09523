//! Requests to a hub: proxies, redirects, the token, retries.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ureq::config::RedirectAuthHeaders;
use ureq::http::{Response, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Timeout};

use super::error::FetchError;
use super::proxy::Proxies;
use super::redirect::{Hop, Purpose};

/// How often a failed request is repeated before it is given up.
pub const MAX_ATTEMPTS: u32 = 5;
/// How many redirects are followed.
const MAX_REDIRECTS: usize = 8;
/// Timeouts of the DNS lookup and of connecting: until a host has answered once, and later. After the first one, advice is shown to the user
/// while the request is tried again.
const FIRST_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// How requests are sent.
pub struct Connection {
    pub endpoint: String,
    pub token: Option<String>,
    pub proxies: Proxies,
    /// A file of root certificates that replace the built-in ones, and the variable that names it.
    pub certificates: Option<(&'static str, PathBuf)>,
    /// The limit on the time until an answer, and until the next bytes of a file.
    pub timeout: Duration,
    agent: OnceCell<Agent>,
    /// The hosts that have answered.
    reached: RefCell<HashSet<String>>,
    /// The timeout of connecting to a host that has not answered yet.
    connect_timeout: Cell<Duration>,
}

/// Why a request failed.
pub enum Failure {
    /// A connection failed, which may be retried: the URL, which may be a redirect's target, and the error.
    Connection(String, ureq::Error),
    /// A retry would not help.
    Final(FetchError),
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::Final(error)
    }
}

/// Why a file's metadata could not be read.
pub enum MetadataError {
    /// A host cannot be reached: its address and the reason.
    Unreachable(String, String),
    /// Anything else.
    Failed(FetchError),
}

impl Connection {
    pub fn new(endpoint: &str, timeout: Duration) -> Self {
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: None,
            proxies: Proxies::default(),
            certificates: None,
            timeout,
            agent: OnceCell::new(),
            reached: RefCell::default(),
            connect_timeout: Cell::new(FIRST_CONNECT_TIMEOUT),
        }
    }

    /// The address of a repository's file.
    pub fn url(&self, repository: &str, revision: &str, file: &str) -> String {
        // a revision such as refs/pr/15 is one part of the path
        let (revision, file) = (encoded(revision, false), encoded(file, true));
        format!("{}/{repository}/resolve/{revision}/{file}", self.endpoint)
    }

    /// Asks for a file's metadata, with retries. `slow` is called once, with the address and the reason, if the host does not answer within
    /// the first timeout.
    pub fn metadata(
        &self,
        url: &str,
        slow: &dyn Fn(&str, &str),
    ) -> Result<Response<Body>, MetadataError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let what = match self.request(Purpose::Metadata, url, 0) {
                Ok(response) if response.status().is_server_error() => {
                    format!("it answers {}", response.status().as_u16())
                }
                Ok(response) => return Ok(response),
                Err(Failure::Final(error)) => return Err(MetadataError::Failed(error)),
                Err(Failure::Connection(at, error)) if self.is_unreachable(&at, &error) => {
                    let what = reason(&error, self.connect_timeout.get());
                    let was_short = self.connect_timeout.replace(CONNECT_TIMEOUT) < CONNECT_TIMEOUT;
                    // a timeout may be a slow network; other failures to connect rarely go away within seconds
                    let is_slow = matches!(error, ureq::Error::Timeout(_));
                    if is_slow && was_short {
                        slow(&origin(&at), &what);
                    } else if is_slow || attempt > 1 {
                        return Err(MetadataError::Unreachable(origin(&at), what));
                    }
                    what
                }
                Err(Failure::Connection(_, error)) => error.to_string(),
            };
            if attempt >= MAX_ATTEMPTS {
                return Err(MetadataError::Failed(FetchError::Network(
                    url.to_owned(),
                    what,
                )));
            }
            std::thread::sleep(pause(attempt));
        }
    }

    /// Sends a request without retries and follows redirects; the content begins at the byte `from`.
    pub fn request(
        &self,
        purpose: Purpose,
        url: &str,
        from: u64,
    ) -> Result<Response<Body>, Failure> {
        let mut hop = Hop {
            url: url.to_owned(),
            trusted: true,
        };
        for _ in 0..MAX_REDIRECTS {
            let response = self.send(purpose, &hop, from)?;
            self.reached.borrow_mut().insert(origin(&hop.url));
            let status = response.status();
            let is_answer = purpose == Purpose::Metadata && describes(&response);
            if !status.is_redirection() || is_answer {
                return Ok(response);
            }
            let location = header(&response, "location").ok_or_else(|| {
                FetchError::Protocol(
                    hop.url.clone(),
                    "it redirects without a `location`".to_owned(),
                )
            })?;
            hop = hop
                .next(status.as_u16(), &location, purpose, &self.endpoint)
                .map_err(|why| self.refused(url, &location, why))?;
        }
        Err(Failure::Final(self.refused(
            url,
            &hop.url,
            "too many redirects",
        )))
    }

    /// The error that a repository may not be read.
    pub fn unauthorized(&self, repository: &str, status: u16) -> FetchError {
        FetchError::Unauthorized {
            endpoint: self.endpoint.clone(),
            repository: repository.to_owned(),
            status,
            token: match self.token {
                Some(_) => {
                    " that may read it; the one that is set may not (it is only sent to HF_ENDPOINT)"
                }
                None => "",
            },
        }
    }

    fn refused(&self, url: &str, target: &str, why: &'static str) -> FetchError {
        FetchError::Redirect {
            url: url.to_owned(),
            target: target.to_owned(),
            why,
            endpoint: self.endpoint.clone(),
        }
    }

    fn send(&self, purpose: Purpose, hop: &Hop, from: u64) -> Result<Response<Body>, Failure> {
        let address = (hop.url.parse().ok())
            .filter(|address: &Uri| matches!(address.scheme_str(), Some("http" | "https")))
            .ok_or_else(|| FetchError::Endpoint(self.endpoint.clone()))?;
        let proxy = self.proxies.of(&address)?;
        let agent = self.agent()?;
        let mut request = match purpose {
            Purpose::Metadata => agent.head(&hop.url),
            Purpose::Content => agent.get(&hop.url),
        }
        .header("Accept-Encoding", "identity");
        if let (Some(token), true) = (&self.token, hop.trusted) {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        let known = self.reached.borrow().contains(&origin(&hop.url));
        let timeout = if known {
            CONNECT_TIMEOUT
        } else {
            self.connect_timeout.get()
        };
        let request = request
            .config()
            .proxy(proxy)
            .timeout_resolve(Some(timeout))
            .timeout_connect(Some(timeout))
            .build();
        (request.call()).map_err(|error| Failure::Connection(hop.url.clone(), error))
    }

    /// Whether the host cannot be reached, as opposed to a connection that broke later.
    fn is_unreachable(&self, url: &str, error: &ureq::Error) -> bool {
        !self.reached.borrow().contains(&origin(url)) && is_unreachable(error)
    }

    fn agent(&self) -> Result<&Agent, FetchError> {
        if let Some(agent) = self.agent.get() {
            return Ok(agent);
        }
        let mut tls = TlsConfig::builder();
        if let Some((variable, path)) = &self.certificates {
            tls = tls.root_certs(certificates(variable, path)?);
        }
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_recv_response(Some(self.timeout))
            // redirects are checked one by one
            .max_redirects(0)
            .redirect_auth_headers(RedirectAuthHeaders::Never)
            .tls_config(tls.build())
            .user_agent(concat!("phantasia/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Ok(self.agent.get_or_init(|| agent))
    }
}

fn certificates(variable: &'static str, path: &PathBuf) -> Result<RootCerts, FetchError> {
    let failed = |what: String| FetchError::Certificates {
        variable,
        path: path.display().to_string(),
        what,
    };
    let text = fs::read(path).map_err(|error| failed(error.to_string()))?;
    let mut found = vec![];
    for item in parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.map_err(|e| failed(e.to_string()))? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(failed("no certificates found".to_owned()));
    }
    Ok(RootCerts::Specific(Arc::new(found)))
}

/// A header's value.
pub fn header(response: &Response<Body>, name: &str) -> Option<String> {
    let value = response.headers().get(name)?.to_str().ok()?;
    Some(value.trim().to_owned())
}

/// Whether a redirect to a file's contents already carries its metadata.
fn describes(response: &Response<Body>) -> bool {
    ["x-repo-commit", "x-linked-etag", "x-linked-size"]
        .iter()
        .all(|name| response.headers().contains_key(*name))
}

/// Scheme and host of an address.
fn origin(url: &str) -> String {
    let uri: Option<Uri> = url.parse().ok();
    let parts = (uri.as_ref()).and_then(|uri| Some((uri.scheme_str()?, uri.authority()?)));
    parts.map_or(url.to_owned(), |(scheme, host)| {
        format!("{scheme}://{host}")
    })
}

/// Whether an error happens before a connection is established.
fn is_unreachable(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => !matches!(
            error.kind(),
            ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof
                | ErrorKind::Interrupted
        ),
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::ConnectProxyFailed(_)
        | ureq::Error::Tls(_)
        | ureq::Error::Rustls(_) => true,
        _ => false,
    }
}

fn reason(error: &ureq::Error, waited: Duration) -> String {
    let text = match error {
        ureq::Error::Timeout(Timeout::Resolve) => {
            format!("the DNS lookup timed out after {} s", waited.as_secs_f64())
        }
        ureq::Error::Timeout(_) => {
            format!("the connection timed out after {} s", waited.as_secs_f64())
        }
        error => error.to_string(),
    };
    if text.contains("certificate") {
        // corporate proxies that inspect TLS present their own certificates
        return format!("{text} (SSL_CERT_FILE can name a file of other certificates to trust)");
    }
    text
}

/// Percent-encodes a text; slashes are kept if it is a whole path.
fn encoded(text: &str, is_path: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(byte.into());
            }
            b'/' if is_path => out.push('/'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The pause before the next attempt.
pub fn pause(attempt: u32) -> Duration {
    Duration::from_millis(200 << attempt.min(6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_and_files_are_parts_of_an_address() {
        let connection = Connection::new("https://hub/", Duration::from_secs(1));
        assert_eq!(
            connection.url("a/b", "refs/pr/15", "unet/c+d.bin"),
            "https://hub/a/b/resolve/refs%2Fpr%2F15/unet/c%2Bd.bin"
        );
        assert_eq!(encoded("ä?#%", true), "%C3%A4%3F%23%25");
    }
}
