//! Behaviour without a network, behind proxies, and with invalid endpoints.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::program::{self, assert_refused, text};
use crate::server::{Answer, connect_proxy, serve, socks_proxy};
use crate::shared::{SOON, clip, fetch, fetch_with_token, folder, run};

#[test]
fn a_hub_that_cannot_be_reached_is_told_soon_with_what_to_do() {
    let folder = folder();
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://{}", listener.local_addr().expect("an address"))
    };
    let start = Instant::now();
    let output = run(
        folder.path(),
        &[("HF_ENDPOINT", &closed)],
        &["models", "fetch", "openai/clip-vit-base-patch32"],
    );
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    assert_refused(&output, 1, &format!("cannot reach {closed}"));
    let stderr = text(&output.stderr);
    for part in [
        "HTTPS_PROXY",
        "NO_PROXY",
        "HF_ENDPOINT",
        "config.json and model.safetensors or model.fp16.safetensors or pytorch_model.bin",
        "`model: FOLDER`",
        "models--openai--clip-vit-base-patch32",
    ] {
        assert!(stderr.contains(part), "no {part} in {stderr}");
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn an_address_that_cannot_be_reached_behind_a_mirror_is_named() {
    let folder = folder();
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://{}", listener.local_addr().expect("an address"))
    };
    let target = closed.clone();
    let mirror =
        serve(move |_, path| Answer::to("308 Permanent Redirect", &format!("{target}{path}")));
    let start = Instant::now();
    let error = fetch(&mirror, folder.path(), "owner/name").expect_err("no server");
    assert!(start.elapsed() < SOON);
    let expected = format!(
        "cannot reach {closed} (redirected from {})",
        mirror.endpoint
    );
    assert!(error.to_string().contains(&expected), "{error}");
}

#[test]
fn a_hub_that_does_not_answer_is_told_while_it_is_tried_again() {
    let folder = folder();
    // whoever connects waits for an answer in TLS
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("https://{}", silent.local_addr().expect("an address"));
    let mut child = program::program(folder.path(), &["models", "fetch", "owner/name"])
        .env("HF_HOME", folder.path())
        .env("HF_ENDPOINT", &endpoint)
        .env("NO_PROXY", "*")
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let start = Instant::now();
    let mut stderr = BufReader::new(child.stderr.take().expect("its errors"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("a line");
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    assert!(
        line.contains(&format!("{endpoint}: the connection timed out after 2 s")),
        "{line}"
    );
    assert!(child.try_wait().expect("a state").is_none());
    child.kill().expect("an end");
    child.wait().expect("an end");
}

#[test]
fn offline_says_what_to_do_and_sends_no_request() {
    let (folder, hub) = (folder(), clip());
    for variable in ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
        let output = run(
            folder.path(),
            &[("HF_ENDPOINT", &hub.endpoint), (variable, "1")],
            &["models", "fetch", "RN50/openai"],
        );
        assert_refused(&output, 1, variable);
        let stderr = text(&output.stderr);
        for part in [
            "open_clip_config.json and open_clip_model.safetensors",
            "tokenizer.json of openai/clip-vit-base-patch32",
            "`model: FOLDER`",
        ] {
            assert!(stderr.contains(part), "no {part} in {stderr}");
        }
    }
    assert!(hub.log().is_empty());
}

#[test]
fn a_proxy_of_the_environment_is_used_but_for_excepted_hosts() {
    let hub = clip();
    let (plain, socks) = (connect_proxy(&hub), socks_proxy(&hub));
    let of_socks = socks.endpoint.replace("http://", "socks5h://");
    let fetch = ["models", "fetch", "owner/name", "--quiet"];
    // only the proxy knows that name
    let endpoint = ("HF_ENDPOINT", "http://hub.invalid");
    for (variable, address, log) in [
        ("HTTP_PROXY", &plain.endpoint, &plain),
        ("http_proxy", &plain.endpoint, &plain),
        ("ALL_PROXY", &plain.endpoint, &plain),
        ("all_proxy", &of_socks, &socks),
    ] {
        let (folder, before) = (folder(), log.log().len());
        let output = run(folder.path(), &[endpoint, (variable, address)], &fetch);
        assert!(
            output.status.success(),
            "{variable}: {}",
            text(&output.stderr)
        );
        let asked = log.log();
        assert!(asked.len() > before, "{variable}");
        assert!(
            asked.iter().all(|line| line.contains("hub.invalid")),
            "{asked:?}"
        );
    }
    // an address of this machine, so that no name server is queried
    let (folder, before) = (folder(), plain.log().len());
    let variables = [
        ("HF_ENDPOINT", hub.endpoint.as_str()),
        ("HTTP_PROXY", &plain.endpoint),
        ("NO_PROXY", "hub.invalid,127.0.0.0/8"),
    ];
    let output = run(folder.path(), &variables, &fetch);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(plain.log().len(), before);
}

#[test]
fn a_proxy_or_certificates_that_cannot_be_used_are_named() {
    let (folder, hub) = (folder(), clip());
    let fetch = ["models", "fetch", "owner/name", "--quiet"];
    let endpoint = ("HF_ENDPOINT", hub.endpoint.as_str());
    let output = run(
        folder.path(),
        &[endpoint, ("http_proxy", "gopher://me:word@proxy")],
        &fetch,
    );
    assert_refused(
        &output,
        1,
        "http_proxy is not a usable proxy address: `gopher://***@proxy`",
    );
    fs::write(folder.path().join("bundle.pem"), "nothing").expect("a file");
    for (file, what) in [
        ("bundle.pem", "no certificates found"),
        ("none.pem", "none.pem"),
    ] {
        let output = run(folder.path(), &[endpoint, ("SSL_CERT_FILE", file)], &fetch);
        assert_refused(&output, 1, "SSL_CERT_FILE");
        assert!(text(&output.stderr).contains(what));
    }
    assert!(hub.log().is_empty());
}

#[test]
fn an_endpoint_that_is_no_address_is_named_at_once() {
    let folder = folder();
    for endpoint in ["hf-mirror.example", "file:///tmp", "ftp://hub", "https://"] {
        let start = Instant::now();
        let output = fetch_with_token(endpoint, folder.path());
        assert_refused(
            &output,
            1,
            &format!(
                "HF_ENDPOINT is not a valid hub address: `{}",
                endpoint.trim_end_matches('/')
            ),
        );
        assert!(start.elapsed() < SOON);
    }
}
