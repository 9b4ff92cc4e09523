//! The page's server as programs and browsers meet it: who is let in, what is refused, and what an edit does.

mod browser;
mod client;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::Message;

use self::client::{Reader, Served, answer_of};
use crate::common::program::run;
use crate::common::{ball, bytes, wait_for};
use phantasia::picture::load_rgb;
use phantasia::recipe::Recipe;

/// A small picture of which each step is quick, and more steps than a test waits for.
pub const LONG: &str = "prompts: [a red ball]\nsize: [48, 32]\nsteps: 5000\nseed: 7\ncutouts: { count: 2 }\n\
                        terms: { retrieval: 0 }\noutput: { checkpoint: 5 }\n";

fn serve(dir: &Path) -> Served {
    Served::start(dir, &["serve", "runs", "--port", "0", "--device", "cpu"])
}

#[test]
fn only_who_has_the_link_is_let_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let served = serve(folder.path());
    let status = |method: &str, path: &str, headers: &[(&str, &str)]| {
        served.raw(method, path, headers, b"").0
    };
    let (host, token) = (served.host.clone(), served.token.clone());
    let bearer = format!("Bearer {token}");
    for path in ["/", "/style.css", "/main.js", "/icon.svg"] {
        assert_eq!(status("GET", path, &[("Host", &host)]), 200, "{path}");
    }
    assert_eq!(status("GET", "/api/state", &[("Host", &host)]), 401);
    let wrong = [
        ("Host", host.as_str()),
        ("Authorization", "Bearer 00112233445566778899aabbccddeeff"),
    ];
    assert_eq!(status("GET", "/api/state", &wrong), 401);
    let right = [("Host", host.as_str()), ("Authorization", bearer.as_str())];
    assert_eq!(status("GET", "/api/state", &right), 200);
    let linked = format!("/api/state?token={token}");
    assert_eq!(status("GET", &linked, &[("Host", &host)]), 200);
    // a page of another site, and a name that another site can give this machine
    for (name, value) in [("Origin", "http://evil.example"), ("Origin", "null")] {
        assert_eq!(
            status("GET", &linked, &[("Host", &host), (name, value)]),
            403,
            "{value}"
        );
    }
    assert_eq!(status("GET", &linked, &[("Host", "evil.example")]), 403);
    assert_eq!(status("GET", "/", &[("Host", "evil.example")]), 403);
    let own = format!("http://{host}");
    assert_eq!(
        status("GET", &linked, &[("Host", &host), ("Origin", &own)]),
        200
    );
    // a WebSocket is let in as everything else is
    assert!(Reader::connect(&served.host, "?token=0", None).is_err());
    let query = format!("?token={token}");
    assert!(Reader::connect(&served.host, &query, Some("http://evil.example")).is_err());
    assert!(Reader::connect(&served.host, &query, Some(&own)).is_ok());
}

#[test]
fn files_outside_of_the_folder_are_out_of_reach() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("runs");
    fs::create_dir_all(dir.join("a-001")).expect("a folder");
    fs::create_dir_all(folder.path().join("secret")).expect("a folder");
    fs::write(dir.join("a-001/recipe.yaml"), "prompts: [a]\n").expect("a file");
    fs::write(folder.path().join("secret/recipe.yaml"), "secret").expect("a file");
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.path().join("secret"), dir.join("link")).expect("a link");
    let served = serve(folder.path());
    assert_eq!(served.get("/api/runs/a-001/recipe.yaml").0, 200);
    for path in [
        "/api/runs/../secret/recipe.yaml",
        "/api/runs/..%2fsecret/recipe.yaml",
        "/api/runs/%2e%2e%2fsecret/recipe.yaml",
        "/api/runs/a-001%2f..%2f..%2fsecret/recipe.yaml",
        "/api/runs/..%5csecret/recipe.yaml",
        "/api/runs/link/recipe.yaml",
        "/api/runs/a-001/..%2f..%2fsecret%2frecipe.yaml",
        "/api/runs/a-001/.lock",
        "/api/runs/a-001/checkpoint.safetensors",
        "/api/runs/%00/recipe.yaml",
        "/../../etc/passwd",
    ] {
        let (status, body) = served.get(path);
        assert!((400..500).contains(&status), "{path}: {status}");
        assert!(
            !String::from_utf8_lossy(&body).contains("secret\n"),
            "{path}"
        );
    }
    // nor does a recipe or an edit reach them
    for recipe in [
        "prompts: [a]\ninit: /etc/hostname\n",
        "prompts: [{ image: ../secret/a.png }]\n",
    ] {
        let (status, _) = served.post("/api/runs", &json!({ "recipe": recipe }));
        assert_eq!(status, 400, "{recipe}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_and_the_server_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let served = serve(folder.path());
    let memory = served.memory();
    for (body, words) in [
        ("", "changes nothing"),
        ("hello", "a JSON object"),
        ("{\"jump\":true}", "jump"),
        ("{\"lr\":\"fast\"}", "lr"),
        ("{\"undo\":true}", "nothing is being rendered"),
    ] {
        let (status, told) = served.send("POST", "/api/edit", body.as_bytes());
        assert!((400..500).contains(&status), "{body}: {status}");
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(told.contains(words), "{body}: {told}");
    }
    for body in [
        "[]",
        "{}",
        "{\"prompt\":1}",
        "{\"prompt\":\"a\",\"again\":\"b\"}",
        "{\"resume\":\"../x\"}",
    ] {
        assert_eq!(
            served.send("POST", "/api/runs", body.as_bytes()).0,
            400,
            "{body}"
        );
    }
    assert_eq!(served.send("DELETE", "/api/runs/7", b"").0, 404);
    // a body of a gigabyte is refused by its length, and without one when it is too long
    let mut stream = served.connect();
    let head = served.head("POST", "/api/runs", "Content-Length: 1073741824\r\n");
    stream.write_all(head.as_bytes()).expect("a request");
    assert_eq!(answer_of(&mut stream).0, 413);
    let mut stream = served.connect();
    let head = served.head("POST", "/api/edit", "Transfer-Encoding: chunked\r\n");
    stream.write_all(head.as_bytes()).expect("a request");
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    // the server may stop to listen
    let _ = (0..64).try_for_each(|_| stream.write_all(&chunk));
    let mut told = vec![];
    let _ = stream.read_to_end(&mut told);
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(
        told.is_empty() || told.starts_with("HTTP/1.1 413"),
        "{told}"
    );
    // no HTTP at all, and a head without an end
    for garbage in [
        b"\x16\x03\x01\x02\x00\x01".repeat(99),
        b"GET / HTTP/1.1\r\nA: b\r\n".repeat(2000),
    ] {
        let mut stream = served.connect();
        let _ = stream.write_all(&garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut vec![]);
    }
    // frames that are none, too long, or of bytes
    let mut reader = served.reader();
    reader.stream().write_all(&[0xff; 64]).expect("bytes");
    assert!(reader.is_closed_soon());
    let mut reader = served.reader();
    let _ = reader.send(Message::text(" ".repeat(300 << 10)));
    assert!(reader.is_closed_soon());
    let mut reader = served.reader();
    reader
        .send(Message::binary(vec![1, 2, 3]))
        .expect("a frame");
    assert!(reader.is_closed_soon());
    let mut reader = served.reader();
    reader.send(Message::text("{\"jump\":1}")).expect("a frame");
    let told = reader.next_of("message");
    assert!(
        told["text"]
            .as_str()
            .is_some_and(|text| text.contains("jump")),
        "{told}"
    );
    wait_for("an answer", || served.try_get("/api/state") == Some(200));
    let grown = served.memory().saturating_sub(memory);
    assert!(grown < 24 << 10, "{grown} KiB more");
}

#[test]
fn a_crowd_and_malformed_input_change_nothing_of_a_picture() {
    let folder = ball::folder(&LONG.replace("steps: 5000", "steps: 120"));
    let args = ["render", "ball.yaml", "--device", "cpu", "--quiet"];
    assert!(run(folder.path(), &args).status.success());
    let mut served = Served::start(
        folder.path(),
        &[&args[..], &["--preview", "web:0"]].concat(),
    );
    let mut reader = served.reader();
    reader.state(|state| state["step"].as_u64() >= Some(10));
    let memory = served.memory();
    // more than are served, and all of them stay
    let mut crowd: Vec<_> = (0..200).map(|_| served.connect()).collect();
    for (index, stream) in crowd.iter_mut().enumerate() {
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let head = match index % 5 {
            0 => served.head("POST", "/api/edit", "Content-Length: 1073741824\r\n"),
            1 => served.head("POST", "/api/edit", "Content-Length: 9\r\n") + "{\"jump\":1",
            2 => {
                served
                    .head("GET", "/api/events", upgrade)
                    .replacen("Connection: close\r\n", "", 1)
            }
            3 => "GET /api/state HTTP/1.1\r\nHost".to_owned(),
            _ => "\u{1}\u{2}\u{3}\r\n\r\n".to_owned(),
        };
        // one that is not served is closed
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&[0xff; 64]);
    }
    let state = reader.state(|state| state["finished"] == json!(true));
    assert_eq!(state["timeline"].as_array().map_or(0, Vec::len), 0);
    let grown = served.memory().saturating_sub(memory);
    assert!(grown < 24 << 10, "{grown} KiB more");
    drop(crowd);
    reader
        .send(Message::text("{\"stop\":true}"))
        .expect("a request");
    served.end();
    let picture = |name: &str| bytes(&folder.path().join("outputs").join(name).join("image.png"));
    assert!(picture("ball-001") == picture("ball-002"), "other bytes");
}

#[test]
fn an_edit_over_http_changes_the_picture_and_replays_to_the_same_bytes() {
    let folder = ball::folder(LONG);
    let args = [
        "render",
        "ball.yaml",
        "--preview",
        "web:0",
        "--fade",
        "2",
        "--device",
        "cpu",
        "--quiet",
    ];
    let mut served = Served::start(folder.path(), &args);
    let (mut first, mut second) = (served.reader(), served.reader());
    // one that never reads
    let deaf = served.reader();
    let begun = first.state(|state| state["step"].as_u64() >= Some(2));
    assert_eq!(begun["run"], "ball-001");
    assert_eq!(begun["prompts"][0]["prompt"]["text"], "a red ball");
    let before = served.get("/api/picture");
    assert_eq!(before.0, 200);
    let (status, _) = served.post("/api/edit", &json!({ "set_prompts": ["a green field"] }));
    assert_eq!(status, 202);
    for reader in [&mut first, &mut second] {
        let state = reader.state(|state| {
            state["timeline"]
                .as_array()
                .is_some_and(|edits| edits.len() == 1)
        });
        assert_eq!(state["timeline"][0]["prompts"][0]["text"], "a green field");
        assert_eq!(state["timeline"][0]["fade"], 2);
    }
    first
        .send(Message::text("{\"lr\":0.5}"))
        .expect("a request");
    let state = second.state(|state| state["learning_rate"] == json!(0.5));
    let edited = state["step"].as_u64().expect("a step");
    // an edit that is refused is told, and changes nothing
    let (status, _) = served.post("/api/edit", &json!({ "set_prompts": [{ "text": "" }] }));
    assert_eq!(status, 202);
    let told = first.next_of("message");
    assert_eq!(told["severity"], "info");
    let told = first.next_of("message");
    assert_eq!(told["severity"], "error", "{told}");
    first.state(|state| state["step"].as_u64() >= Some(edited + 4));
    let measured = first.next_of("metrics");
    assert!(measured["steps"][0]["loss"].is_f64(), "{measured}");
    let picture = first.next_picture();
    assert!(image::load_from_memory(&picture).is_ok());
    assert_ne!(served.get("/api/picture").1, before.1);
    first
        .send(Message::text("{\"stop\":true}"))
        .expect("a request");
    served.end();
    drop(deaf);
    let runs = folder.path().join("outputs");
    let recipe = Recipe::load(&runs.join("ball-001/recipe.yaml")).expect("a recipe");
    assert_eq!(recipe.timeline.len(), 3);
    assert!(recipe.timeline[2].stop);
    let again = run(
        folder.path(),
        &["render", "outputs/ball-001/recipe.yaml", "--device", "cpu"],
    );
    assert!(again.status.success());
    let [one, two] = ["ball-001", "ball-002"].map(|name| runs.join(name).join("image.png"));
    assert_eq!(
        load_rgb(&one).expect("a picture"),
        load_rgb(&two).expect("a picture")
    );
}

#[test]
fn a_queue_survives_the_end_of_the_program() {
    const SHORT: &str = "prompts: [a red ball]\nsize: [48, 32]\nsteps: 2\ncutouts: { count: 1 }\nterms: { retrieval: 0 }\n";
    let folder = tempfile::tempdir().expect("a folder");
    let mut served = serve(folder.path());
    let add = |served: &Served, recipe: &str, name: &str| {
        let (status, told) = served.post("/api/runs", &json!({ "recipe": recipe, "name": name }));
        assert_eq!(status, 202, "{}", String::from_utf8_lossy(&told));
    };
    let jobs = |served: &Served| served.json("/api/runs")["queue"].clone();
    add(&served, SHORT, "short");
    add(&served, LONG, "long");
    add(&served, SHORT, "last");
    wait_for("a checkpoint", || {
        folder
            .path()
            .join("runs/long-001/checkpoint.safetensors")
            .exists()
    });
    let states: Vec<Value> = (0..3)
        .map(|index| jobs(&served)[index]["state"].clone())
        .collect();
    assert_eq!(states, ["done", "running", "waiting"]);
    let (status, png) = served.get("/api/runs/short-001/image.png");
    assert_eq!(
        (status, png),
        (200, bytes(&folder.path().join("runs/short-001/image.png")))
    );
    // as kill -9 does
    served.kill();
    let mut served = serve(folder.path());
    let second = Served::refused(folder.path(), &["serve", "runs", "--port", "0"]);
    assert!(second.contains("in use"), "{second}");
    wait_for("the render to go on", || {
        served.json("/api/state")["step"].as_u64() > Some(5)
    });
    let queue = jobs(&served);
    let id = queue
        .as_array()
        .expect("jobs")
        .iter()
        .find(|job| job["run"] == "long-001")
        .expect("a job")["id"]
        .clone();
    assert_eq!(
        served.send("DELETE", &format!("/api/runs/{id}"), b"").0,
        200
    );
    wait_for("the last render", || {
        let queue = jobs(&served);
        let states: Vec<_> = queue
            .as_array()
            .expect("jobs")
            .iter()
            .map(|job| job["state"].clone())
            .collect();
        states.iter().filter(|state| **state == "done").count() == 2
            && states.contains(&json!("stopped"))
    });
    let runs = served.json("/api/runs")["runs"].clone();
    assert_eq!(runs.as_array().map(Vec::len), Some(3));
    served.interrupt();
    std::thread::sleep(Duration::from_millis(10));
}
