//! Who may use the server, and which files it gives away.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use anyhow::{Result, anyhow, bail};
use axum::http::{HeaderMap, Uri, header};

use crate::protocol::State;
use crate::recipe::{Edit, FileKind, NamedFile, Recipe};

/// Bytes of randomness in a token.
const TOKEN_BYTES: usize = 16;

/// Where the server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address of the interface; a loopback address by default.
    pub address: IpAddr,
    /// The port; none is [`DEFAULT_PORT`](super::DEFAULT_PORT), or any other if that is taken.
    pub port: Option<u16>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST.into(),
            port: None,
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    /// Reads an address, with or without a port: `0.0.0.0`, `192.168.1.5:8000`, `[::1]:8000`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            let (address, port) = (address.ip(), Some(address.port()));
            return Ok(Self { address, port });
        }
        let plain = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        let address = (plain.unwrap_or(text).parse())
            .map_err(|_| "expected an address, such as 0.0.0.0 or 127.0.0.1:8000".to_owned())?;
        let port = None;
        Ok(Self { address, port })
    }
}

/// What a request must have to be answered.
#[derive(Clone, Debug)]
pub struct Access {
    token: String,
    /// Whether only this machine can connect.
    is_local: bool,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Host,
    Origin,
    Token,
}

impl Refusal {
    pub fn message(self) -> &'static str {
        match self {
            Self::Host => {
                "this name is not the server's: open the link that the program printed, or one with the machine's address"
            }
            Self::Origin => "a page of another site may not use this server",
            Self::Token => {
                "the token is missing or wrong: open the link that the program printed, or send `Authorization: Bearer TOKEN`"
            }
        }
    }
}

impl Access {
    /// A new random token.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new(address: IpAddr) -> Result<Self> {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes)
            .map_err(|error| anyhow!("the system gives no random numbers for a token: {error}"))?;
        let token = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let is_local = address.is_loopback();
        Ok(Self { token, is_local })
    }

    /// The token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Checks what every request must have: a `Host` that no other site can take on (a name that it resolves to this machine would give it
    /// the page's rights), and the `Origin` of the server's own page, if any.
    pub(super) fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST).ok_or(Refusal::Host)?;
        if headers.get_all(header::HOST).iter().count() != 1 || !self.is_own(host) {
            return Err(Refusal::Host);
        }
        if headers.contains_key(header::ORIGIN) {
            let origin = text(header::ORIGIN).unwrap_or_default();
            let (_, name) = origin.split_once("://").ok_or(Refusal::Origin)?;
            if !name.eq_ignore_ascii_case(host) {
                return Err(Refusal::Origin);
            }
        }
        Ok(())
    }

    /// Whether a `Host` is an address, or `localhost`; where only this machine can connect, only its own. The port may be another one,
    /// as behind a tunnel.
    fn is_own(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        if name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        let plain = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        let address: Option<IpAddr> = match plain {
            Some(plain) => plain.parse().ok().filter(IpAddr::is_ipv6),
            None => name.parse().ok().filter(IpAddr::is_ipv4),
        };
        address.is_some_and(|address| !self.is_local || address.is_loopback())
    }

    /// Checks the token, in the header or in the link.
    pub(super) fn check_token(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Refusal> {
        let bearer = (headers.get(header::AUTHORIZATION))
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let pairs = uri.query().into_iter().flat_map(|query| query.split('&'));
        let linked = pairs.filter_map(|pair| pair.strip_prefix("token=")).next();
        match bearer.or(linked) {
            Some(given) if is_same(given.as_bytes(), self.token.as_bytes()) => Ok(()),
            _ => Err(Refusal::Token),
        }
    }
}

/// Compares in a time that does not depend on where they differ.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0
}

/// A file in a folder of a folder: `dir/name/file`, links resolved. `None` if it does not exist or lies outside of `dir`.
pub(super) fn file_within(dir: &Path, name: &str, file: &str) -> Option<PathBuf> {
    is_plain(name).then_some(())?;
    let path = dir.join(name).join(file).canonicalize().ok()?;
    (path.starts_with(dir.canonicalize().ok()?) && path.is_file()).then_some(path)
}

/// Whether a name is that of a folder, and not hidden.
pub(super) fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let is_one = matches!(parts.next(), Some(Component::Normal(_))) && parts.next().is_none();
    is_one && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

/// Checks that all files that a recipe names lie in a folder, links resolved: who may send recipes may not read the machine's other files.
pub(super) fn check_files(recipe: &Recipe, dir: &Path) -> Result<()> {
    check(recipe.files()?, dir)
}

/// As [`check_files`], of an edit. The files that the render uses already may be named again.
pub(super) fn check_edit_files(edit: &Edit, dir: &Path, state: &State) -> Result<()> {
    let of = |timeline| {
        let mut recipe = Recipe::new(vec![]);
        recipe.timeline = timeline;
        recipe.files()
    };
    let files = of(vec![edit.clone()])?;
    if files.is_empty() {
        return Ok(());
    }
    let present = Edit::with(|edit| {
        edit.prompts = Some(
            (state.prompts.iter())
                .map(|status| status.prompt.clone())
                .collect(),
        );
        edit.terms = Some(state.terms.clone());
    });
    let timeline = state.timeline.iter().flatten().cloned();
    let known = of(timeline.chain([present]).collect())?;
    let is_new = |file: &NamedFile| !known.iter().any(|other| other.name == file.name);
    check(files.into_iter().filter(is_new), dir)
}

fn check(files: impl IntoIterator<Item = NamedFile>, dir: &Path) -> Result<()> {
    let within = dir.canonicalize()?;
    for file in files {
        let path = Path::new(&file.name);
        let is_path = match file.kind {
            FileKind::Image => true,
            FileKind::Model => {
                path.has_root() || file.name.starts_with(['.', '~']) || path.exists()
            }
        };
        let found = path.canonicalize();
        if is_path && !found.is_ok_and(|path| path.starts_with(&within)) {
            bail!(
                "{}: `{}` is not a file in {}: over the network, only files in that folder can be used",
                file.path,
                file.name,
                dir.display()
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn access(address: &str) -> Access {
        Access::new(address.parse().expect("an address")).expect("a token")
    }

    fn asked(access: &Access, host: &str, origin: Option<&str>) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).expect("a host"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).expect("one"));
        }
        access.check_origin(&headers)
    }

    #[test]
    fn a_host_is_the_servers_own() {
        let local = access("127.0.0.1");
        for host in ["127.0.0.1:80", "localhost", "LOCALHOST:9000", "[::1]:1"] {
            assert_eq!(asked(&local, host, None), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "192.168.0.2:80",
            "localhost.evil.example",
            "",
            "::1",
        ] {
            assert_eq!(asked(&local, host, None), Err(Refusal::Host), "{host}");
        }
        let open = access("0.0.0.0");
        assert_eq!(asked(&open, "192.168.0.2:80", None), Ok(()));
        assert_eq!(asked(&open, "evil.example", None), Err(Refusal::Host));
    }

    #[test]
    fn an_origin_is_the_servers_own() {
        let local = access("127.0.0.1");
        let host = "127.0.0.1:8000";
        assert_eq!(asked(&local, host, Some("http://127.0.0.1:8000")), Ok(()));
        for other in [
            "http://127.0.0.1:9000",
            "http://evil.example",
            "null",
            "file://",
        ] {
            assert_eq!(
                asked(&local, host, Some(other)),
                Err(Refusal::Origin),
                "{other}"
            );
        }
    }

    #[test]
    fn a_token_comes_in_the_header_or_in_the_link() {
        let access = access("127.0.0.1");
        let check = |uri: String, bearer: Option<String>| {
            let mut headers = HeaderMap::new();
            if let Some(bearer) = bearer {
                headers.insert(header::AUTHORIZATION, bearer.parse().expect("a header"));
            }
            access.check_token(&headers, &uri.parse().expect("a link"))
        };
        let token = access.token();
        assert_eq!(token.len(), 2 * TOKEN_BYTES);
        assert_eq!(check(format!("/?a=b&token={token}"), None), Ok(()));
        assert_eq!(check("/".into(), Some(format!("Bearer {token}"))), Ok(()));
        for (uri, bearer) in [
            ("/", None),
            ("/?token=", None),
            ("/?token=00", None),
            ("/", Some("Bearer x")),
        ] {
            let bearer = bearer.map(ToOwned::to_owned);
            assert_eq!(check(uri.into(), bearer), Err(Refusal::Token), "{uri}");
        }
    }

    #[test]
    fn only_files_of_the_folder_are_given_away() {
        let out = tempfile::tempdir().expect("a folder");
        let dir = out.path().join("dir");
        std::fs::create_dir_all(dir.join("cat-001")).expect("a folder");
        std::fs::create_dir_all(out.path().join("other")).expect("a folder");
        for file in ["dir/cat-001/image.png", "other/image.png", "dir/image.png"] {
            std::fs::write(out.path().join(file), "x").expect("a file");
        }
        assert!(file_within(&dir, "cat-001", "image.png").is_some());
        for name in [
            "..",
            ".",
            "",
            "../other",
            "a/../cat-001",
            "..\\other",
            "/etc",
            "cat-001/",
        ] {
            assert_eq!(file_within(&dir, name, "image.png"), None, "{name}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(out.path().join("other"), dir.join("link")).expect("a link");
            assert_eq!(file_within(&dir, "link", "image.png"), None);
        }
    }

    #[test]
    fn an_edit_may_not_name_files_outside() {
        let dir = tempfile::tempdir().expect("a folder");
        let image = dir.path().join("a.png");
        std::fs::write(&image, "x").expect("a file");
        let edit = |path: &Path| {
            let mut prompt = crate::Prompt::new("");
            (prompt.text, prompt.image) = (None, Some(path.to_owned()));
            Edit::with(|edit| edit.prompts = Some(vec![prompt]))
        };
        let check = |path: &Path, state: &State| check_edit_files(&edit(path), dir.path(), state);
        let (mut state, other) = (State::default(), Path::new("/etc/hostname"));
        assert!(check(&image, &state).is_ok());
        assert!(check(other, &state).is_err());
        assert!(check(&dir.path().join("../x.png"), &state).is_err());
        // one that the render has already
        state.timeline = Some(vec![edit(other)]);
        assert!(check(other, &state).is_ok());
    }
}
