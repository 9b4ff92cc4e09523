//! Where models come from when things are not as they should be: redirects, proxies, no network, caches that others left.

mod program;
#[path = "hub/server.rs"]
mod server;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use phantasia::models::{Cache, FetchError, Fetched, Hub, wanted};
use tempfile::TempDir;

use program::{assert_refused, json, text};
use server::{Answer, COMMIT, Server, connect_proxy, hub_of, serve, socks_proxy};

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const CLIP: &[(&str, &[u8])] = &[
    ("config.json", b"{}"),
    ("model.safetensors", b"weights"),
    ("processor_config.json", b"{ }"),
];
/// A hub on loopback has answered long before.
const SOON: Duration = Duration::from_secs(2);

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// The program with a cache and an endpoint, and nothing else of the environment that counts.
fn run(folder: &Path, variables: &[(&str, &str)], args: &[&str]) -> Output {
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

fn fetch(server: &Server, folder: &Path, name: &str) -> Result<Fetched, FetchError> {
    let wanted = wanted(name).expect("a name");
    Hub::new(&server.endpoint, Cache::at(folder)).fetch(&wanted, &mut |_| {})
}

fn fetch_with_token(endpoint: &str, folder: &Path) -> Output {
    run(
        folder,
        &[("HF_ENDPOINT", endpoint), ("HF_TOKEN", "hf_secret")],
        &["models", "fetch", "owner/name", "--quiet"],
    )
}

fn clip() -> Server {
    serve(|_, path| hub_of(CLIP, path))
}

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

// redirects

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
    // the same letters, and then more: a host of somebody else
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
    assert!(error.to_string().contains("on and on"), "{error}");
    let nowhere = serve(|_, _| Answer {
        headers: String::new(),
        ..Answer::to("302 Found", "")
    });
    let error = fetch(&nowhere, folder.path(), "owner/name").expect_err("no place");
    assert!(error.to_string().contains("does not say where"), "{error}");
    // and for the bytes
    let ring = serve(|method, path| match method {
        "HEAD" => hub_of(CLIP, path),
        _ => Answer::to("307 Temporary Redirect", path),
    });
    let error = fetch(&ring, folder.path(), "owner/name").expect_err("a ring");
    assert!(error.to_string().contains("on and on"), "{error}");
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

// no network

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
    let error = fetch(&mirror, folder.path(), "owner/name").expect_err("nobody there");
    assert!(start.elapsed() < SOON);
    let expected = format!("cannot reach {closed}, where {} leads", mirror.endpoint);
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
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert!(
        line.contains(&format!("{endpoint} does not answer: no answer within 2 s")),
        "{line}"
    );
    assert!(child.try_wait().expect("a state").is_none());
    child.kill().expect("an end");
    child.wait().expect("an end");
}

#[test]
fn offline_says_what_to_do_and_asks_nobody() {
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

// proxies

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
    // an address of the machine itself, so that nobody's name server is asked
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
        "http_proxy names no proxy that can be used: `gopher://***@proxy`",
    );
    fs::write(folder.path().join("bundle.pem"), "nothing").expect("a file");
    for (file, what) in [("bundle.pem", "it holds none"), ("none.pem", "none.pem")] {
        let output = run(folder.path(), &[endpoint, ("SSL_CERT_FILE", file)], &fetch);
        assert_refused(&output, 1, "SSL_CERT_FILE");
        assert!(text(&output.stderr).contains(what));
    }
    assert!(hub.log().is_empty());
}

// which files, which revision

#[test]
fn open_clips_files_are_preferred_to_timms() {
    let folder = folder();
    let hub = serve(|_, path| {
        let files: &[(&str, &[u8])] = &[
            ("config.json", b"timm's"),
            ("model.safetensors", b"an image tower"),
            ("open_clip_config.json", b"{}"),
            ("open_clip_model.safetensors", b"a CLIP"),
            ("tokenizer.json", b"{}"),
        ];
        hub_of(files, path)
    });
    for name in ["RN50/cc12m", "timm/resnet50_clip.of_somebody"] {
        let fetched = fetch(&hub, folder.path(), name).expect("fetched");
        assert_eq!(
            fetched.files,
            [
                "open_clip_config.json",
                "tokenizer.json",
                "open_clip_model.safetensors"
            ],
            "{name}"
        );
    }
}

#[test]
fn a_diffusion_model_is_fetched_at_the_root_and_as_a_pipeline() {
    let root: &[(&str, &[u8])] = &[
        ("config.json", b"{}"),
        ("scheduler_config.json", b"{}"),
        ("diffusion_pytorch_model.bin", b"weights"),
    ];
    let pipeline: &[(&str, &[u8])] = &[
        ("unet/config.json", b"{}"),
        ("scheduler/scheduler_config.json", b"{}"),
        ("unet/diffusion_pytorch_model.safetensors", b"weights"),
    ];
    for files in [root, pipeline] {
        let hub = serve(move |_, path| hub_of(files, path));
        for name in ["wikiart", "google/ddpm-church-256", "owner/name"] {
            let folder = folder();
            let fetched = fetch(&hub, folder.path(), name).expect("fetched");
            let expected: Vec<&str> = files.iter().map(|(file, _)| *file).collect();
            assert_eq!(fetched.files, expected, "{name}");
        }
    }
}

#[test]
fn weights_that_are_divided_come_with_all_their_parts() {
    let folder = folder();
    let list = br#"{ "weight_map": { "a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors", "d": "../../escaped" } }"#;
    let hub = serve(|_, path| {
        let files: &[(&str, &[u8])] = &[
            ("config.json", b"{}"),
            ("model.safetensors.index.json", list),
            ("model-1.safetensors", b"one"),
            ("model-2.safetensors", b"two"),
            ("escaped", b"no"),
        ];
        hub_of(files, path)
    });
    let fetched = fetch(&hub, folder.path(), "owner/name").expect("fetched");
    let expected = [
        "config.json",
        "model.safetensors.index.json",
        "model-1.safetensors",
        "model-2.safetensors",
    ];
    assert_eq!(fetched.files, expected);
    assert!(hub.log().iter().all(|line| !line.contains("escaped")));
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
                "HF_ENDPOINT is no address of a hub: `{}",
                endpoint.trim_end_matches('/')
            ),
        );
        assert!(start.elapsed() < SOON);
    }
}

#[test]
fn what_a_layout_lacks_is_named() {
    let folder = folder();
    let hub = serve(|_, path| hub_of(&[("config.json", b"{}")], path));
    let error = fetch(&hub, folder.path(), "openai/clip-vit-base-patch16").expect_err("no weights");
    assert!(
        error
            .to_string()
            .contains("has no model.safetensors or model.fp16.safetensors or"),
        "{error}"
    );
    // conversions on a branch are those of one repository
    assert!(
        hub.log().iter().all(|line| !line.contains("pr%2F15")),
        "{:?}",
        hub.log()
    );
    let empty = serve(|_, _| Answer::nothing());
    let error = fetch(&empty, folder.path(), "owner/name@v2").expect_err("nothing");
    assert!(
        error
            .to_string()
            .contains("no model of a layout that is read here"),
        "{error}"
    );
    assert!(error.to_string().contains("at `v2`"), "{error}");
    assert!(empty.log().iter().all(|line| line.contains("/resolve/v2/")));
}

#[test]
fn a_revision_is_fetched_and_found_again() {
    let (folder, hub) = (folder(), clip());
    let endpoint = ("HF_ENDPOINT", hub.endpoint.as_str());
    let repository = folder.path().join("home/hub/models--owner--name");
    for name in ["owner/name@refs/pr/3", "owner/name@v1", "owner/name/@v1"] {
        let output = run(
            folder.path(),
            &[endpoint],
            &["models", "fetch", name, "--quiet"],
        );
        assert!(output.status.success(), "{}", text(&output.stderr));
        let path = run(folder.path(), &[], &["models", "path", name]);
        assert_eq!(text(&path.stdout), text(&output.stdout));
        assert!(path.stderr.is_empty(), "{}", text(&path.stderr));
    }
    assert!(
        hub.log()
            .iter()
            .any(|line| line.contains("/resolve/refs%2Fpr%2F3/"))
    );
    for name in ["refs/pr/3", "v1"] {
        assert_eq!(
            fs::read_to_string(repository.join("refs").join(name)).expect("a file"),
            COMMIT
        );
    }
    assert!(!repository.join("refs/main").exists());
    // a commit leaves no reference
    let name = format!("owner/other@{COMMIT}");
    let output = run(
        folder.path(),
        &[endpoint],
        &["models", "fetch", &name, "--quiet"],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        !folder
            .path()
            .join("home/hub/models--owner--other/refs")
            .exists()
    );
    let output = run(
        folder.path(),
        &[endpoint],
        &["models", "fetch", "owner/name@../../x"],
    );
    assert_refused(&output, 1, "asks for the revision `../../x`");
}

// caches as others leave them

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// `me/pinned`, which somebody downloaded by its commit; `me/moved`, whose `main` went on, and only config.json of it came. Copies, as where
/// there are no links.
fn left_by_others() -> TempDir {
    let folder = folder();
    let cache = folder.path().join("home/hub");
    for repository in ["models--me--pinned", "models--me--moved"] {
        let snapshot = cache.join(repository).join("snapshots").join(A);
        fs::create_dir_all(&snapshot).expect("a folder");
        fs::create_dir_all(cache.join(repository).join("refs")).expect("a folder");
        for file in ["config.json", "model.safetensors", "tokenizer.json"] {
            fs::copy(fixture("clip-hf-quick").join(file), snapshot.join(file)).expect("a copy");
        }
    }
    let moved = cache.join("models--me--moved");
    fs::create_dir_all(moved.join("snapshots").join(B)).expect("a folder");
    fs::copy(
        fixture("clip-hf-quick/config.json"),
        moved.join("snapshots").join(B).join("config.json"),
    )
    .expect("a copy");
    fs::write(moved.join("refs/main"), B).expect("a file");
    let picture =
        image::RgbImage::from_fn(32, 32, |x, y| image::Rgb([x as u8 * 8, y as u8 * 8, 90]));
    picture
        .save(folder.path().join("a.png"))
        .expect("a picture");
    folder
}

fn score(folder: &Path, clip: &str) -> Output {
    run(
        folder,
        &[("HF_HUB_OFFLINE", "1")],
        &[
            "score", "--clip", clip, "--prompt", "a cat", "--json", "a.png",
        ],
    )
}

#[test]
fn a_whole_snapshot_is_taken_and_named() {
    let folder = left_by_others();
    let path = folder.path();
    fs::create_dir(path.join("own@main")).expect("a folder");
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(
            fixture("clip-hf-quick").join(file),
            path.join("own@main").join(file),
        )
        .expect("a copy");
    }
    let scores = |output: &Output| json(output)["results"][0]["score"].as_f64();
    // lines about snapshots: one, or none
    let told = |output: &Output| {
        let stderr = text(&output.stderr);
        let lines = stderr.lines().filter(|line| line.contains("snapshot"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    // a folder, whatever its name
    let own = score(path, "own@main");
    let expected = scores(&own);
    assert!(expected.is_some() && told(&own).is_empty());
    for (name, why) in [
        ("me/pinned", "knows no snapshot of its `main`"),
        ("me/pinned/", "knows no snapshot of its `main`"),
        ("me/moved", "only config.json"),
    ] {
        let output = score(path, name);
        assert_eq!(scores(&output), expected, "{name}");
        let [line] = told(&output).try_into().expect("one line");
        assert!(
            line.contains(why) && line.contains(&format!("snapshots/{A}")),
            "{line}"
        );
    }
    for name in ["me/pinned@", "me/moved@"] {
        for revision in [A, "aaaaaaaa"] {
            let output = score(path, &format!("{name}{revision}"));
            assert_eq!(scores(&output), expected, "{name}");
            assert!(told(&output).is_empty(), "{}", text(&output.stderr));
        }
    }
}

#[test]
fn a_revision_that_is_not_here_is_an_error_that_names_what_is() {
    let folder = left_by_others();
    for revision in [B, "main", "v3"] {
        let output = score(folder.path(), &format!("me/moved@{revision}"));
        assert_refused(
            &output,
            1,
            &format!("`me/moved@{revision}` is not on this machine"),
        );
        let stderr = text(&output.stderr);
        for part in [A, B, "main: only config.json", "models fetch me/moved@"] {
            assert!(stderr.contains(part), "no {part} in {stderr}");
        }
    }
    let output = score(folder.path(), "me/moved@../../..");
    assert_refused(&output, 1, "asks for the revision `../../..`");
}

#[test]
fn a_recipe_keeps_the_revision_as_it_was_typed() {
    let folder = left_by_others();
    let recipe = format!(
        "prompts: a cat\nsize: 32x32\nsteps: 1\nclip: [{{ model: me/pinned@{A} }}]\ncutouts: {{ count: 1 }}\n"
    );
    fs::write(folder.path().join("r.yaml"), recipe).expect("a recipe");
    let output = run(
        folder.path(),
        &[("HF_HUB_OFFLINE", "1")],
        &["render", "r.yaml", "--quiet", "--out", "out"],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let run_folder = (fs::read_dir(folder.path().join("out")).expect("a folder"))
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.join("recipe.yaml").is_file())
        .unwrap_or_else(|| folder.path().join("out"));
    let written = fs::read_to_string(run_folder.join("recipe.yaml")).expect("a recipe");
    assert!(written.contains(&format!("me/pinned@{A}")), "{written}");
    // what can be no revision is told before any work
    let astray = "prompts: a cat\nclip: [{ model: me/pinned@../x }]\n";
    fs::write(folder.path().join("astray.yaml"), astray).expect("a recipe");
    let output = run(folder.path(), &[], &["recipe", "check", "astray.yaml"]);
    assert_refused(
        &output,
        2,
        "clip.0.model: `me/pinned@../x` asks for the revision",
    );
}

#[test]
fn models_list_and_path_answer_for_every_name() {
    let folder = left_by_others();
    let models = |args: &[&str]| {
        let mut all = vec!["models"];
        all.extend(args);
        run(folder.path(), &[("HF_HUB_OFFLINE", "1")], &all)
    };
    for command in ["path", "fetch"] {
        let output = models(&[command, "embedded"]);
        assert_eq!(text(&output.stdout), "embedded\n");
        assert!(output.status.success() && text(&output.stderr).contains("part of the program"));
    }
    let output = models(&["path", "me/pinned/"]);
    assert!(text(&output.stdout).trim().ends_with(A));
    assert!(text(&output.stderr).contains("me/pinned@"));

    let report = json(&models(&[
        "list",
        "--json",
        "me/moved",
        &format!("me/pinned@{A}"),
        "wikiart",
    ]));
    let [moved, pinned, wikiart] = report["models"].as_array().expect("models").as_slice() else {
        panic!("{report}");
    };
    assert_eq!(moved["snapshots"].as_array().expect("snapshots").len(), 2);
    assert!(moved["path"].as_str().expect("a path").ends_with(A));
    assert!(moved["note"].as_str().expect("a note").contains(B));
    let main = moved["snapshots"].as_array().expect("snapshots").iter();
    let main = main.filter(|state| state["references"][0] == "main");
    assert_eq!(main.map(|state| &state["commit"]).collect::<Vec<_>>(), [B]);
    assert_eq!(pinned["revision"], A);
    assert!(pinned["note"].is_null());
    assert_eq!(
        wikiart["repository"],
        "johnowhitaker/sd-class-wikiart-from-bedrooms"
    );
    assert!(wikiart["path"].is_null());

    let listed = text(&models(&["list", "me/moved"]).stdout);
    let header = listed.lines().next().expect("a header").to_lowercase();
    assert!(
        header.contains("name") && header.contains("about"),
        "{listed}"
    );
    assert!(
        listed.contains(A) && listed.contains(&format!("{B} (main): config.json")),
        "{listed}"
    );
    let listed = text(&models(&["list"]).stdout);
    let column = listed
        .lines()
        .next()
        .expect("a header")
        .to_lowercase()
        .find("about")
        .expect("a column");
    assert!(
        listed
            .lines()
            .all(|line| line.len() <= column || line.as_bytes()[column - 1] == b' ')
    );
    assert_refused(
        &models(&["list", "nothing like it"]),
        1,
        "there is no model",
    );
}
