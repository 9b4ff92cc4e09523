//! Proxies from the environment, with the semantics of curl and Python.
//!
//! The HTTP client's own implementation prefers ALL_PROXY to HTTPS_PROXY, uses HTTP_PROXY for https, and silently ignores invalid values.

use std::net::IpAddr;

use ureq::Proxy;
use ureq::http::Uri;

use super::error::FetchError;

/// The proxy settings of the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    https: Option<Named>,
    http: Option<Named>,
    /// Hosts that are reached directly.
    except: Vec<String>,
}

/// A proxy's address and the variable that sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    variable: String,
    address: String,
}

impl Proxies {
    /// HTTPS_PROXY and HTTP_PROXY for URLs of their scheme, otherwise ALL_PROXY, except for the hosts in NO_PROXY. The lower-case spelling of
    /// a variable takes precedence.
    pub fn from_env() -> Self {
        Self::read(&|name| std::env::var(name).ok())
    }

    fn read(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| {
            [name.to_ascii_lowercase(), name.to_owned()]
                .into_iter()
                .find_map(|name| {
                    let value = variable(&name)?.trim().to_owned();
                    (!value.is_empty()).then_some(Named {
                        variable: name,
                        address: value,
                    })
                })
        };
        let except = get("NO_PROXY").map_or(vec![], |named| {
            (named.address.split([',', ' ']))
                .map(|entry| entry.trim().to_ascii_lowercase())
                .filter(|entry| !entry.is_empty())
                .collect()
        });
        Self {
            https: get("HTTPS_PROXY").or_else(|| get("ALL_PROXY")),
            http: get("HTTP_PROXY").or_else(|| get("ALL_PROXY")),
            except,
        }
    }

    /// The proxy for a URL, if any.
    ///
    /// # Errors
    /// If its address is not valid.
    pub fn of(&self, url: &Uri) -> Result<Option<Proxy>, FetchError> {
        self.named(url)
            .map(|named| {
                Proxy::new(&named.address).map_err(|_| {
                    FetchError::Proxy(named.variable.clone(), without_password(&named.address))
                })
            })
            .transpose()
    }

    fn named(&self, url: &Uri) -> Option<&Named> {
        let named = match url.scheme_str() {
            Some("https") => self.https.as_ref(),
            _ => self.http.as_ref(),
        }?;
        let host = url.host()?.to_ascii_lowercase();
        let excepted = |entry: &String| is_excepted(&host, url.port_u16(), entry);
        (!self.except.iter().any(excepted)).then_some(named)
    }

    /// Describes the proxy that applies to a URL.
    pub fn describe(&self, url: &str) -> String {
        let url: Option<Uri> = url.parse().ok();
        match url.as_ref().and_then(|url| self.named(url)) {
            Some(Named { variable, address }) => {
                format!("{variable} is {}", without_password(address))
            }
            None if url.is_some_and(|url| url.scheme_str() == Some("http")) => {
                "for this address HTTP_PROXY or ALL_PROXY; none is in use".to_owned()
            }
            None => "none is in use".to_owned(),
        }
    }
}

/// Whether an entry of NO_PROXY matches a host: `*`, a domain with its subdomains, an address, each optionally with a port, or a network
/// (`10.0.0.0/8`).
fn is_excepted(host: &str, port: Option<u16>, entry: &str) -> bool {
    if entry == "*" {
        return true;
    }
    let host = host.trim_matches(['[', ']']);
    if let Ok(address) = host.parse::<IpAddr>() {
        if let Some((network, bits)) = entry.split_once('/') {
            return (network.parse().ok().zip(bits.parse().ok()))
                .is_some_and(|(network, bits)| is_within(address, network, bits));
        }
        let bare = entry.trim_matches(['[', ']']);
        if bare.parse() == Ok(address) {
            return true;
        }
    }
    let with_port = (entry.rsplit_once(':'))
        .and_then(|(name, digits)| Some((name, digits.parse::<u16>().ok()?)));
    if with_port.is_some_and(|(_, wanted)| port != Some(wanted)) {
        return false;
    }
    let name = with_port.map_or(entry, |(name, _)| name);
    let name = name.trim_start_matches('*').trim_start_matches('.');
    !name.is_empty()
        && (host.strip_suffix(name))
            .is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (address, network, width) = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return false,
    };
    let free = width - bits.min(width);
    let head = |value: u128| value.checked_shr(free).unwrap_or(0);
    head(address) == head(network)
}

/// A proxy's address without its credentials.
fn without_password(address: &str) -> String {
    let Some((before, host)) = address.rsplit_once('@') else {
        return address.to_owned();
    };
    let scheme = before.find("://").map_or("", |at| &before[..at + 3]);
    format!("{scheme}***@{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::read(&|name| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(found.1.to_owned())
        })
    }

    #[track_caller]
    fn host(proxies: &Proxies, url: &str) -> Option<String> {
        let proxy = proxies.of(&url.parse().expect("an address"));
        Some(proxy.expect("a proxy").as_ref()?.host().to_owned())
    }

    #[test]
    fn each_variable_counts_for_its_kind_of_address() {
        let all = proxies(&[
            ("ALL_PROXY", "socks5h://all:1"),
            ("HTTPS_PROXY", "http://user:word@secure:3128"),
            ("http_proxy", "plain:80"),
            ("HTTP_PROXY", "not-this"),
        ]);
        assert_eq!(
            host(&all, "https://huggingface.co/a").as_deref(),
            Some("secure")
        );
        assert_eq!(
            host(&all, "http://huggingface.co/a").as_deref(),
            Some("plain")
        );
        let one = proxies(&[("all_proxy", "socks5h://all:1")]);
        assert_eq!(
            host(&one, "https://huggingface.co/a").as_deref(),
            Some("all")
        );
        assert_eq!(
            host(&one, "http://huggingface.co/a").as_deref(),
            Some("all")
        );
        let plain = proxies(&[("HTTP_PROXY", "http://plain:1"), ("ALL_PROXY", " ")]);
        assert_eq!(host(&plain, "https://huggingface.co/a"), None);
    }

    #[test]
    fn hosts_of_no_proxy_are_asked_directly() {
        for (entries, url, direct) in [
            ("*", "https://huggingface.co/", true),
            ("huggingface.co", "https://huggingface.co/", true),
            ("huggingface.co", "https://cdn.huggingface.co/", true),
            (".huggingface.co", "https://cdn.huggingface.co/", true),
            ("*.huggingface.co", "https://cdn.huggingface.co/", true),
            ("face.co", "https://huggingface.co/", false),
            ("localhost, HuggingFace.co", "https://huggingface.co/", true),
            ("huggingface.co:8443", "https://huggingface.co:8443/", true),
            ("huggingface.co:8443", "https://huggingface.co/", false),
            ("127.0.0.1", "http://127.0.0.1:80/", true),
            ("127.0.0.0/8", "http://127.1.2.3/", true),
            ("10.0.0.0/8", "http://127.0.0.1/", false),
            ("10.0.0.0/0", "http://127.0.0.1/", true),
            ("10.0.0.0/99", "http://127.0.0.1/", false),
            ("::1", "http://[::1]:5/", true),
            ("fe80::/10", "http://[fe80::5]/", true),
            ("", "https://huggingface.co/", false),
            (",.,", "https://huggingface.co/", false),
            ("10.0.0.0/x", "http://10.0.0.1/", false),
        ] {
            let set = proxies(&[("ALL_PROXY", "http://all:1"), ("NO_PROXY", entries)]);
            assert_eq!(host(&set, url).is_none(), direct, "{entries:?} {url}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_read_is_an_error_without_its_password() {
        let set = proxies(&[("HTTPS_PROXY", "gopher://me:word@proxy:1")]);
        let error = set.of(&"https://hub/".parse().expect("an address"));
        let error = error.expect_err("no proxy").to_string();
        assert!(
            error.contains("HTTPS_PROXY") && error.contains("gopher://***@proxy:1"),
            "{error}"
        );
        assert!(!error.contains("word"), "{error}");
        assert!(set.describe("https://hub").contains("***@proxy"));
        assert!(proxies(&[]).describe("https://hub").contains("none"));
    }
}
