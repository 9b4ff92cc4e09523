//! Where a hub may lead, and where not.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use phantasia::models::FetchError;

use crate::common::program::{assert_refused, text};
use crate::server::{Answer, Server, hub_of, serve};
use crate::shared::{CLIP, SOON, clip, fetch, fetch_with_token, folder};

#[track_caller]
fn token_stayed(servers: &[&Server]) {
    for server in servers {
        let log = server.log();
        assert!(
            log.iter().all(|line| !line.contains("hf_secret")),
            "{log:?}"
        );
    }
}

#[test]
fn a_permanent_move_within_the_hub_is_followed_without_the_token() {
    let (folder, hub) = (folder(), clip());
    let target = hub.endpoint.clone();
    let mirror =
        serve(move |_, path| Answer::to("308 Permanent Redirect", &format!("{target}{path}")));
    let output = fetch_with_token(&mirror.endpoint, folder.path());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let snapshot = PathBuf::from(text(&output.stdout).trim());
    assert_eq!(
        fs::read(snapshot.join("model.safetensors")).expect("weights"),
        b"weights"
    );
    assert!(
        mirror
            .log()
            .iter()
            .all(|line| line.ends_with("Bearer hf_secret"))
    );
    assert!(!hub.log().is_empty());
    token_stayed(&[&hub]);
}

#[test]
fn a_move_to_another_host_is_refused_by_name() {
    let (folder, elsewhere) = (folder(), clip());
    let port = elsewhere.port().to_owned();
    for (status, target) in [
        ("308 Permanent Redirect", format!("http://localhost:{port}")),
        ("302 Found", format!("http://127.0.0.1:{port}")),
        (
            "301 Moved Permanently",
            "http://127.0.0.1.elsewhere.invalid".to_owned(),
        ),
        (
            "308 Permanent Redirect",
            format!("http://user@127.0.0.1:{port}"),
        ),
        ("308 Permanent Redirect", "file:///etc/passwd?".to_owned()),
        ("308 Permanent Redirect", "ftp://127.0.0.1".to_owned()),
    ] {
        let to = target.clone();
        let mirror = serve(move |_, path| Answer::to(status, &format!("{to}{path}")));
        let start = Instant::now();
        let output = fetch_with_token(&mirror.endpoint, folder.path());
        assert_refused(&output, 1, &target);
        let stderr = text(&output.stderr);
        assert!(
            stderr.contains("HF_ENDPOINT") && stderr.contains("not followed"),
            "{stderr}"
        );
        assert!(start.elapsed() < SOON);
    }
    assert!(elsewhere.log().is_empty());
}

#[test]
fn an_address_that_begins_like_the_hubs_is_not_the_hubs() {
    let folder = folder();
    let mirror = serve(|_, _| Answer::nothing());
    // a foreign host whose name begins with the hub's
    let target = format!("{}.elsewhere.invalid/a", mirror.endpoint);
    let to = target.clone();
    let mirror = serve(move |_, _| Answer::to("308 Permanent Redirect", &to));
    let output = fetch_with_token(&mirror.endpoint, folder.path());
    assert_refused(&output, 1, &target);
}

#[test]
fn bytes_come_from_another_host_without_the_token() {
    let (folder, store) = (folder(), clip());
    let port = store.port().to_owned();
    let hub = serve(move |method, path| match method {
        "HEAD" => hub_of(CLIP, path),
        _ => Answer::to("302 Found", &format!("http://localhost:{port}{path}")),
    });
    let output = fetch_with_token(&hub.endpoint, folder.path());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(store.log().len(), CLIP.len());
    token_stayed(&[&store]);
}

#[test]
fn bytes_come_from_no_file_of_this_machine() {
    let folder = folder();
    let secret = folder.path().join("secret");
    fs::write(&secret, "{}").expect("a file");
    let target = format!("file://{}", secret.display());
    let to = target.clone();
    let hub = serve(move |method, path| match method {
        "HEAD" => hub_of(CLIP, path),
        _ => Answer::to("302 Found", &to),
    });
    let error = fetch(&hub, folder.path(), "owner/name").expect_err("no file");
    assert!(matches!(error, FetchError::Redirect { .. }), "{error}");
    assert!(error.to_string().contains(&target), "{error}");
}

#[test]
fn a_ring_of_redirects_ends() {
    let folder = folder();
    let start = Instant::now();
    let ring = serve(|_, path| Answer::to("302 Found", path));
    let error = fetch(&ring, folder.path(), "owner/name").expect_err("a ring");
    assert!(error.to_string().contains("too many redirects"), "{error}");
    let nowhere = serve(|_, _| Answer {
        headers: String::new(),
        ..Answer::to("302 Found", "")
    });
    let error = fetch(&nowhere, folder.path(), "owner/name").expect_err("no place");
    assert!(
        error.to_string().contains("without a `location`"),
        "{error}"
    );
    // and for the bytes
    let ring = serve(|method, path| match method {
        "HEAD" => hub_of(CLIP, path),
        _ => Answer::to("307 Temporary Redirect", path),
    });
    let error = fetch(&ring, folder.path(), "owner/name").expect_err("a ring");
    assert!(error.to_string().contains("too many redirects"), "{error}");
    assert!(ring.log().len() < 40 && start.elapsed() < SOON);
}

#[test]
fn a_repository_that_was_renamed_is_found() {
    let folder = folder();
    let hub = serve(|_, path| match path.strip_prefix("/owner/name/") {
        Some(rest) => Answer::to("307 Temporary Redirect", &format!("/new/name/{rest}")),
        None => hub_of(CLIP, path),
    });
    let output = fetch_with_token(&hub.endpoint, folder.path());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        hub.log()
            .iter()
            .all(|line| line.ends_with("Bearer hf_secret"))
    );
}
