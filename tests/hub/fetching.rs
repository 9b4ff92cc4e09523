//! Fetching models from a hub: a small server on this machine speaks the hub's file protocol, and misbehaves where it is told to.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use super::manners::{COMMIT, Manner, SHORT, Server, serve, sha256, weights};
use phantasia::models::{Cache, FetchError, FetchRequest, Fetched, FileSet, Hub};
use tempfile::TempDir;

fn fetch(server: &Server, folder: &Path) -> Result<Fetched, FetchError> {
    fetch_within(server, folder, Duration::from_secs(10))
}

fn fetch_within(server: &Server, folder: &Path, timeout: Duration) -> Result<Fetched, FetchError> {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let request = FetchRequest {
        repository: "owner/name".to_owned(),
        revisions: vec!["refs/pr/15".to_owned(), "main".to_owned()],
        layouts: vec![FileSet {
            required: list(&["config.json"]),
            weights: list(&["model.safetensors", "pytorch_model.bin"]),
            optional: list(&["tokenizer.json"]),
        }],
        shared_tokenizer: None,
        kind: None,
    };
    Hub::new(&server.endpoint, Cache::at(folder))
        .with_timeout(timeout)
        .fetch(&request, &mut |_| {})
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Nothing but whole files is left.
fn blobs(folder: &Path) -> Vec<String> {
    let blobs = fs::read_dir(folder.join("models--owner--name/blobs"));
    let mut names: Vec<String> = (blobs.into_iter().flatten().flatten())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn is_whole(folder: &Path) {
    let snapshot = folder.join("models--owner--name/snapshots").join(COMMIT);
    assert_eq!(
        fs::read(snapshot.join("model.safetensors")).expect("the weights"),
        weights()
    );
    let found = Cache::at(folder).revision("owner/name", "main");
    assert_eq!(found.map(|found| found.path), Some(snapshot));
}

#[test]
fn a_model_is_fetched_into_the_layout_of_huggingface_hub() {
    let (server, folder) = (serve(Manner::Well), folder());
    let fetched = fetch(&server, folder.path()).expect("fetched");
    assert_eq!(fetched.files, ["config.json", "model.safetensors"]);
    assert_eq!(fetched.bytes, 300_002);
    is_whole(folder.path());
    #[cfg(unix)]
    {
        let link = fs::read_link(fetched.folder.join("model.safetensors")).expect("a link");
        assert_eq!(link, Path::new("../../blobs").join(sha256(&weights())));
    }
}

#[test]
fn what_is_there_is_not_fetched_again() {
    let (server, folder) = (serve(Manner::Well), folder());
    fetch(&server, folder.path()).expect("fetched");
    assert_eq!(fetch(&server, folder.path()).expect("fetched").bytes, 0);
    let log = server.log.lock().expect("the log");
    assert_eq!(log.iter().filter(|line| line.starts_with("GET")).count(), 2);
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_was() {
    let (server, folder) = (
        serve(Manner::Breaks {
            times: 2,
            after: 100_000,
        }),
        folder(),
    );
    let fetched = fetch(&server, folder.path()).expect("fetched");
    assert_eq!(fetched.bytes, 300_002);
    is_whole(folder.path());
    let log = server.log.lock().expect("the log");
    assert!(
        log.iter().any(|line| line.contains("from=100000")),
        "{log:?}"
    );
}

#[test]
fn a_download_of_an_earlier_session_goes_on() {
    let (server, folder) = (serve(Manner::Well), folder());
    let blobs = folder.path().join("models--owner--name/blobs");
    fs::create_dir_all(&blobs).expect("a folder");
    let part = blobs.join(format!("{}.incomplete", sha256(&weights())));
    fs::write(part, &weights()[..250_000]).expect("a file");
    assert_eq!(
        fetch(&server, folder.path()).expect("fetched").bytes,
        50_002
    );
    is_whole(folder.path());
}

#[test]
fn a_dead_connection_is_given_up_and_said() {
    let (server, folder) = (serve(Manner::Dead), folder());
    let error = fetch(&server, folder.path())
        .expect_err("no weights")
        .to_string();
    assert!(
        error.contains("cannot reach") && error.contains("model.safetensors"),
        "{error}"
    );
}

#[test]
fn a_download_that_falls_silent_goes_on_where_it_was() {
    let manner = Manner::Stalls {
        times: 1,
        after: 100_000,
    };
    let (server, folder) = (serve(manner), folder());
    assert_eq!(
        fetch_within(&server, folder.path(), SHORT)
            .expect("fetched")
            .bytes,
        300_002
    );
    is_whole(folder.path());
    let log = server.log.lock().expect("the log");
    assert!(
        log.iter().any(|line| line.contains("from=100000")),
        "{log:?}"
    );
}

#[test]
fn a_server_that_stays_silent_is_given_up_and_what_came_is_kept() {
    let manner = Manner::Stalls {
        times: usize::MAX,
        after: 100_000,
    };
    let (server, folder) = (serve(manner), folder());
    let start = Instant::now();
    let error = fetch_within(&server, folder.path(), SHORT)
        .expect_err("silence")
        .to_string();
    assert!(start.elapsed() < Duration::from_secs(10));
    for part in [
        "no byte came for 0.3 s",
        "100000 of 300000 bytes are kept",
        "resumes from there",
    ] {
        assert!(error.contains(part), "{error}");
    }
    let server = serve(Manner::Well);
    assert_eq!(
        fetch(&server, folder.path()).expect("fetched").bytes,
        200_000
    );
    is_whole(folder.path());
}

#[test]
fn the_environment_sets_the_patience() {
    let manner = Manner::Stalls {
        times: usize::MAX,
        after: 0,
    };
    let (server, folder) = (serve(manner), folder());
    let output = program(
        &server,
        folder.path(),
        &[("HF_HUB_DOWNLOAD_TIMEOUT", "0.2")],
        &["models", "fetch", "owner/name", "--quiet"],
    );
    fails(&output, &["no byte came for 0.2 s", "0 of 300000 bytes"]);
}

#[test]
fn a_wrong_checksum_is_an_error_and_nothing_of_it_stays() {
    let (server, folder) = (serve(Manner::Lies), folder());
    let error = fetch(&server, folder.path()).expect_err("others' bytes");
    assert!(matches!(error, FetchError::Checksum { .. }), "{error}");
    assert!(error.to_string().contains(&sha256(&weights())), "{error}");
    assert_eq!(blobs(folder.path()), ["a".repeat(40)]);
}

#[test]
fn a_wrong_size_is_an_error_and_nothing_of_it_stays() {
    let (server, folder) = (serve(Manner::Overflows), folder());
    let error = fetch(&server, folder.path()).expect_err("too many bytes");
    assert!(
        matches!(
            error,
            FetchError::Size {
                expected: 300_000,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(blobs(folder.path()), ["a".repeat(40)]);
}

#[test]
fn a_fault_of_the_server_is_tried_again() {
    let (server, folder) = (serve(Manner::Stumbles), folder());
    fetch(&server, folder.path()).expect("fetched");
    is_whole(folder.path());
}

#[test]
fn the_weights_that_are_there_are_taken() {
    let (server, folder) = (serve(Manner::PickleOnly), folder());
    let fetched = fetch(&server, folder.path()).expect("fetched");
    assert_eq!(fetched.files, ["config.json", "pytorch_model.bin"]);
}

fn program(server: &Server, folder: &Path, variables: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phantasia"));
    for name in [
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "HF_TOKEN_PATH",
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
        "HF_HUB_OFFLINE",
        "HF_HUB_DOWNLOAD_TIMEOUT",
    ] {
        command.env_remove(name);
    }
    command
        .current_dir(folder)
        .env("HF_ENDPOINT", &server.endpoint)
        .env("HF_HOME", folder)
        .env("NO_PROXY", "*")
        .envs(variables.iter().copied())
        .args(args)
        .output()
        .expect("the program")
}

#[track_caller]
fn fails(output: &Output, parts: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "no {part:?} in: {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn fetch_and_path_print_the_folder() {
    let (server, folder) = (serve(Manner::Well), folder());
    let fetched = program(
        &server,
        folder.path(),
        &[],
        &["models", "fetch", "owner/name"],
    );
    let stderr = String::from_utf8_lossy(&fetched.stderr);
    assert!(
        fetched.status.success() && stderr.contains("model.safetensors"),
        "{stderr}"
    );
    let path = program(
        &server,
        folder.path(),
        &[],
        &["models", "path", "owner/name"],
    );
    assert_eq!(fetched.stdout, path.stdout);
    assert!(String::from_utf8_lossy(&path.stdout).contains("hub/models--owner--name/snapshots"));
}

#[test]
fn a_repository_without_weights_is_told() {
    let (server, folder) = (serve(Manner::Well), folder());
    let output = program(&server, folder.path(), &[], &["models", "fetch", "hpsv2.1"]);
    fails(&output, &["has no HPS_v2.1_compressed.pt in `xswu/HPSv2`"]);
}

#[test]
fn a_gated_repository_asks_for_the_token() {
    let (server, folder) = (serve(Manner::Refuses), folder());
    let output = program(
        &server,
        folder.path(),
        &[],
        &["models", "fetch", "owner/name"],
    );
    fails(&output, &["(401)", "HF_TOKEN", "gated"]);
}

#[test]
fn the_token_is_sent_from_the_environment_or_its_file() {
    let (server, folder) = (serve(Manner::Well), folder());
    fs::write(folder.path().join("token"), "hf_file\n").expect("a file");
    program(
        &server,
        folder.path(),
        &[],
        &["models", "fetch", "owner/name"],
    );
    program(
        &server,
        folder.path(),
        &[("HF_TOKEN", "hf_set")],
        &["models", "fetch", "owner/name"],
    );
    let log = server.log.lock().expect("the log");
    assert!(
        log.iter().any(|line| line.ends_with("Bearer hf_file")),
        "{log:?}"
    );
    assert!(
        log.iter().any(|line| line.ends_with("Bearer hf_set")),
        "{log:?}"
    );
}

#[test]
fn offline_nothing_is_asked_for() {
    let (server, folder) = (serve(Manner::Well), folder());
    let output = program(
        &server,
        folder.path(),
        &[("HF_HUB_OFFLINE", "1")],
        &["models", "fetch", "owner/name"],
    );
    fails(&output, &["HF_HUB_OFFLINE"]);
    assert!(server.log.lock().expect("the log").is_empty());
}

#[test]
fn a_missing_model_names_the_command_that_fetches_it() {
    let (server, folder) = (serve(Manner::Well), folder());
    fs::write(
        folder.path().join("r.yaml"),
        "prompts: a\nclip: [{ model: RN50/openai }]\n",
    )
    .expect("a file");
    let output = program(
        &server,
        folder.path(),
        &[],
        &["render", "r.yaml", "--quiet"],
    );
    fails(&output, &["phantasia models fetch RN50/openai", "408 MB"]);
    assert!(server.log.lock().expect("the log").is_empty());
}

#[test]
fn yes_fetches_what_a_recipe_or_a_judge_names() {
    let (server, folder) = (serve(Manner::Well), folder());
    fs::write(
        folder.path().join("r.yaml"),
        "prompts: a\nclip: [{ model: owner/name }]\n",
    )
    .expect("a file");
    let render = ["render", "r.yaml", "--quiet"];
    let output = program(&server, folder.path(), &[], &render);
    fails(&output, &["phantasia models fetch owner/name", "--yes"]);
    assert!(server.log.lock().expect("the log").is_empty());
    // the weights of this server are no weights, but they come
    let output = program(
        &server,
        folder.path(),
        &[],
        &[&render[..], &["--yes"]].concat(),
    );
    fails(&output, &["owner"]);
    assert!(output.stdout.is_empty());
    is_whole(&folder.path().join("hub"));
    let gets = |server: &Server| {
        let log = server.log.lock().expect("the log");
        log.iter().filter(|line| line.starts_with("GET")).count()
    };
    assert_eq!(gets(&server), 2);
    // once is enough
    program(
        &server,
        folder.path(),
        &[],
        &[&render[..], &["--yes"]].concat(),
    );
    assert_eq!(gets(&server), 2);

    let (server, folder) = (serve(Manner::Well), self::folder());
    let score = [
        "score",
        "--prompt",
        "a",
        "--clip",
        "owner/name",
        "--quiet",
        ".",
    ];
    let output = program(&server, folder.path(), &[], &score);
    fails(&output, &["phantasia models fetch owner/name", "--yes"]);
    program(
        &server,
        folder.path(),
        &[],
        &[&score[..], &["--yes"]].concat(),
    );
    is_whole(&folder.path().join("hub"));
}

#[test]
fn the_list_is_one_json_object() {
    let (server, folder) = (serve(Manner::Well), folder());
    let output = program(&server, folder.path(), &[], &["models", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let models = list["models"].as_array().expect("models");
    let is_listed = |name: &str, embedded: bool| {
        let mut models = models.iter();
        models.any(|model| {
            model["name"] == name && model["path"].is_null() && model["embedded"] == embedded
        })
    };
    assert!(is_listed("RN50/openai", false));
    assert!(is_listed("embedded", true) && is_listed("embedded/resnet", true));
}
