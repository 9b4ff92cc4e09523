//! Which redirects of a hub are followed.
//!
//! The metadata of a file (commit, checksum, size) is trusted, so it must come from the endpoint itself or from a known host of the hub. The
//! contents may come from any host, such as a CDN: large files are checked against their checksum. The access token is only sent to the
//! endpoint.

use ureq::http::Uri;

use crate::models::names::HOSTS;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A file's metadata.
    Metadata,
    /// A file's contents.
    Content,
}

/// One request of a chain of redirects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Its URL.
    pub url: String,
    /// Whether the access token may be sent with it.
    pub trusted: bool,
}

impl Hop {
    /// The request that a redirect with this status and this `location` leads to.
    ///
    /// # Errors
    /// Why the redirect is not followed, as part of a sentence.
    pub fn next(
        &self,
        status: u16,
        location: &str,
        purpose: Purpose,
        endpoint: &str,
    ) -> Result<Self, &'static str> {
        let from: Uri =
            (self.url.parse()).map_err(|_| "the address that redirects is not a valid URL")?;
        let url = absolute(&from, location).ok_or("it is not a valid URL")?;
        let to: Uri = url.parse().map_err(|_| "it is not a valid URL")?;
        if !matches!(to.scheme_str(), Some("http" | "https")) {
            return Err("only http and https are followed");
        }
        if (to.authority()).is_none_or(|to| to.as_str().contains('@') || to.host().is_empty()) {
            return Err("it contains a user name");
        }
        // the parser ignores a port that is not a number
        let has_port = (to.authority()).is_some_and(|to| !to.as_str().ends_with(to.host()));
        if has_port && to.port_u16().is_none() {
            return Err("its port is not a number");
        }
        if from.scheme_str() == Some("https") && to.scheme_str() == Some("http") {
            return Err("it downgrades https to http");
        }
        if origin(&from) == origin(&to) || is_upgrade(&from, &to) {
            return Ok(Self {
                url,
                trusted: self.trusted,
            });
        }
        let elsewhere = Ok(Self {
            url,
            trusted: false,
        });
        if purpose == Purpose::Content {
            return elsewhere;
        }
        let own = |endpoint: Uri| host(&endpoint) == host(&to);
        let known = to.scheme_str() == Some("https") && HOSTS.contains(&host(&to).as_str());
        if !known && !endpoint.parse().is_ok_and(own) {
            return Err("it is not a known host of the hub");
        }
        match status {
            301 | 308 => elsewhere,
            _ => {
                Err("only a permanent redirect (301 or 308) to another host of the hub is followed")
            }
        }
    }
}

/// The absolute URL of a `location`, which may be relative.
fn absolute(from: &Uri, location: &str) -> Option<String> {
    let location = location.split('#').next()?.trim();
    let (scheme, authority) = (from.scheme_str()?, from.authority()?);
    if location.starts_with("//") {
        return Some(format!("{scheme}:{location}"));
    }
    if location.starts_with('/') {
        return Some(format!("{scheme}://{authority}{location}"));
    }
    location.contains(':').then(|| location.to_owned())
}

fn host(uri: &Uri) -> String {
    uri.host().unwrap_or_default().to_ascii_lowercase()
}

/// Scheme, host and port.
fn origin(uri: &Uri) -> (Option<&str>, String, Option<u16>) {
    let standard = match uri.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    };
    (uri.scheme_str(), host(uri), uri.port_u16().or(standard))
}

/// From http to https on the same host, both on their default ports.
fn is_upgrade(from: &Uri, to: &Uri) -> bool {
    origin(from) == (Some("http"), host(to), Some(80))
        && origin(to) == (Some("https"), host(from), Some(443))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUB: &str = "https://huggingface.co";
    const MIRROR: &str = "https://mirror.example";

    fn at(endpoint: &str) -> Hop {
        Hop {
            url: format!("{endpoint}/a/b/resolve/main/config.json"),
            trusted: true,
        }
    }

    fn next(
        endpoint: &str,
        status: u16,
        location: &str,
        purpose: Purpose,
    ) -> Result<Hop, &'static str> {
        at(endpoint).next(status, location, purpose, endpoint)
    }

    #[test]
    fn the_hubs_own_addresses_are_followed_with_the_token() {
        for (endpoint, location, url) in [
            (
                HUB,
                "/c/d/resolve/main/x",
                "https://huggingface.co/c/d/resolve/main/x",
            ),
            (
                HUB,
                "https://huggingface.co/c/d",
                "https://huggingface.co/c/d",
            ),
            (
                HUB,
                "https://HuggingFace.co:443/c/d",
                "https://HuggingFace.co:443/c/d",
            ),
            (HUB, "//huggingface.co/c", "https://huggingface.co/c"),
            (HUB, "/c#part", "https://huggingface.co/c"),
            (
                "http://mirror.example",
                "https://mirror.example/c",
                "https://mirror.example/c",
            ),
            (
                "http://127.0.0.1:5",
                "http://127.0.0.1:5/c",
                "http://127.0.0.1:5/c",
            ),
        ] {
            for status in [301, 302, 307, 308] {
                for purpose in [Purpose::Metadata, Purpose::Content] {
                    let hop = next(endpoint, status, location, purpose).expect("a way");
                    assert_eq!((hop.url.as_str(), hop.trusted), (url, true), "{location}");
                }
            }
        }
    }

    #[test]
    fn a_permanent_move_to_a_known_hub_is_followed_without_the_token() {
        for (endpoint, location) in [
            (MIRROR, "https://huggingface.co/a"),
            (MIRROR, "https://HF.co/a"),
            ("http://mirror.example", "https://huggingface.co/a"),
            ("https://hf.co", "https://huggingface.co/a"),
            (MIRROR, "https://mirror.example:8443/a"),
            ("http://127.0.0.1:5", "http://127.0.0.1:6/a"),
        ] {
            for status in [301, 308] {
                let hop = next(endpoint, status, location, Purpose::Metadata).expect("a way");
                assert_eq!((hop.url.as_str(), hop.trusted), (location, false));
                // and it does not come back to the token's host with it
                let back = hop.next(308, endpoint, Purpose::Metadata, endpoint);
                assert!(back.is_err() || back.is_ok_and(|hop| !hop.trusted));
            }
            for status in [302, 303, 307] {
                assert!(next(endpoint, status, location, Purpose::Metadata).is_err());
            }
        }
    }

    #[test]
    fn bytes_come_from_anywhere_but_without_the_token() {
        for (endpoint, location) in [
            (HUB, "https://cdn-lfs.hf.co/x?Signature=1"),
            (HUB, "https://cas-bridge.xethub.hf.co/x"),
            (MIRROR, "https://huggingface.co/x"),
            ("http://127.0.0.1:5", "http://127.0.0.1:6/x"),
        ] {
            let hop = next(endpoint, 302, location, Purpose::Content).expect("a way");
            assert_eq!((hop.url.as_str(), hop.trusted), (location, false));
        }
    }

    #[test]
    fn what_leads_astray_is_refused() {
        for location in [
            "https://elsewhere.example/a",
            "https://huggingface.co.elsewhere.example/a",
            "https://elsewhere.example/huggingface.co/a",
            "https://huggingface.co@elsewhere.example/a",
            "https://evilhuggingface.co/a",
            "//elsewhere.example/a",
            "http://huggingface.co/a",
        ] {
            assert!(
                next(MIRROR, 308, location, Purpose::Metadata).is_err(),
                "{location}"
            );
        }
        // of plain http, too, only https leads to the hub
        assert!(
            next(
                "http://127.0.0.1:5",
                308,
                "http://huggingface.co/a",
                Purpose::Metadata
            )
            .is_err()
        );
        for location in [
            "file:///etc/passwd",
            "file://huggingface.co/etc/passwd",
            "ftp://huggingface.co/a",
            "javascript:alert(1)",
            "http://huggingface.co/a",
            "https://user:word@huggingface.co/a",
            "https://huggingface.co:443.elsewhere.example/a",
            "https://huggingface.co:/a",
            "https://",
            "https:///a",
            "",
            " ",
            "a/b",
            "\u{0}",
        ] {
            for purpose in [Purpose::Metadata, Purpose::Content] {
                assert!(next(HUB, 308, location, purpose).is_err(), "{location}");
            }
        }
    }
}
