//! What these tests share.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use phantasia::models::{Cache, FetchError, FetchRequest, Fetched, Hub};
use tempfile::TempDir;

use crate::common::program;
use crate::server::{Server, hub_of, serve};

pub const CLIP: &[(&str, &[u8])] = &[
    ("config.json", b"{}"),
    ("model.safetensors", b"weights"),
    ("processor_config.json", b"{ }"),
];
/// What takes half a second on an idle machine takes no longer than this on a busy one.
pub const SOON: Duration = Duration::from_secs(5);

pub fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// The program with a cache and an endpoint, and nothing else of the environment that counts.
pub fn run(folder: &Path, variables: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = program::program(folder, args);
    for name in [
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "HF_TOKEN_PATH",
        "HF_ENDPOINT",
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_HUB_DOWNLOAD_TIMEOUT",
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "https_proxy",
        "http_proxy",
        "all_proxy",
        "no_proxy",
    ] {
        command.env_remove(name);
    }
    command
        .env("HF_HOME", folder.join("home"))
        .envs(variables.iter().copied())
        .output()
        .expect("the program")
}

pub fn fetch(server: &Server, folder: &Path, name: &str) -> Result<Fetched, FetchError> {
    let request = FetchRequest::parse(name).expect("a name");
    Hub::new(&server.endpoint, Cache::at(folder)).fetch(&request, &mut |_| {})
}

pub fn fetch_with_token(endpoint: &str, folder: &Path) -> Output {
    run(
        folder,
        &[("HF_ENDPOINT", endpoint), ("HF_TOKEN", "hf_secret")],
        &["models", "fetch", "owner/name", "--quiet"],
    )
}

pub fn clip() -> Server {
    serve(|_, path| hub_of(CLIP, path))
}
