//! The page in a browser: Chromium without a screen, driven through its debugging protocol. Where there is none, the test says so.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

use super::client::Served;
use super::{LONG, serve};
use phantasia::recipe::Recipe;

const PATIENCE: Duration = Duration::from_secs(60);

/// A browser; it is killed when it is dropped.
struct Browser {
    child: Child,
    socket: WebSocket<TcpStream>,
    calls: u64,
    _profile: TempDir,
}

impl Browser {
    fn start() -> Option<Self> {
        let profile = tempfile::tempdir().expect("a folder");
        let started = ["chromium", "chromium-browser", "google-chrome"]
            .iter()
            .find_map(|name| {
                Command::new(name)
                    .args([
                        "--headless=new",
                        "--no-sandbox",
                        "--disable-gpu",
                        "--remote-debugging-port=0",
                        "--window-size=1440,900",
                    ])
                    .arg(format!("--user-data-dir={}", profile.path().display()))
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::piped())
                    .spawn()
                    .ok()
            });
        let Some(mut child) = started else {
            println!("skipped: there is no Chromium");
            return None;
        };
        let mut lines = BufReader::new(child.stderr.take().expect("its standard error")).lines();
        let link = lines.find_map(|line| {
            let line = line.ok()?;
            line.strip_prefix("DevTools listening on ")
                .map(ToOwned::to_owned)
        });
        std::thread::spawn(move || lines.for_each(drop));
        let link = link.expect("the debugging protocol's address");
        let host = link["ws://".len()..].split('/').next().expect("a host");
        let stream = TcpStream::connect(host).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (socket, _) =
            tungstenite::client(link.as_str(), stream).expect("the debugging protocol");
        Some(Self {
            child,
            socket,
            calls: 0,
            _profile: profile,
        })
    }

    fn call(&mut self, session: Option<&str>, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": parameters });
        if let Some(session) = session {
            call["sessionId"] = json!(session);
        }
        self.socket
            .send(Message::text(call.to_string()))
            .expect("a call");
        loop {
            if let Message::Text(told) = self.socket.read().expect("an answer") {
                let told: Value = serde_json::from_str(&told).expect("JSON");
                if told["id"] == self.calls {
                    assert!(told["error"].is_null(), "{method}: {told}");
                    return told["result"].clone();
                }
            }
        }
    }

    /// Opens a page; returns its session.
    fn open(&mut self, link: &str) -> String {
        let target = self.call(None, "Target.createTarget", json!({ "url": link }));
        let parameters = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.call(None, "Target.attachToTarget", parameters);
        session["sessionId"].as_str().expect("a session").to_owned()
    }

    /// The value of an expression in a page.
    fn value(&mut self, page: &str, expression: &str) -> Value {
        let parameters =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let told = self.call(Some(page), "Runtime.evaluate", parameters);
        assert!(told["exceptionDetails"].is_null(), "{expression}: {told}");
        told["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    fn wait(&mut self, page: &str, expression: &str) {
        let start = Instant::now();
        // while a page loads, it has none of its parts
        let guarded = format!(
            "(() => {{ try {{ return Boolean({expression}) }} catch {{ return false }} }})()"
        );
        while self.value(page, &guarded) != json!(true) {
            assert!(start.elapsed() < PATIENCE, "never: {expression}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn key(&mut self, page: &str, key: &str, text: &str) {
        for kind in ["keyDown", "keyUp"] {
            let parameters = json!({ "type": kind, "key": key, "text": text });
            self.call(Some(page), "Input.dispatchKeyEvent", parameters);
        }
    }

    fn type_text(&mut self, page: &str, text: &str) {
        self.call(Some(page), "Input.insertText", json!({ "text": text }));
        self.key(page, "Enter", "\r");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The pixels of the picture that the page shows, as one text.
const PIXELS: &str = "document.getElementById('picture').toDataURL()";

#[test]
fn a_text_typed_into_an_empty_page_is_painted_and_edited_there() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let served: Served = serve(folder.path());
    let page = browser.open(&served.link());
    browser.wait(&page, "!document.getElementById('composer').hidden && document.activeElement.id === 'compose-text'");
    // the token is not left in the address
    assert_eq!(browser.value(&page, "location.search"), "");
    let small = "for (const [id, value] of [['width', 48], ['height', 32], ['steps', 5000]]) document.getElementById('compose-' + id).value = value";
    browser.value(&page, small);
    browser.type_text(&page, "a red ball");
    browser.wait(&page, "!document.getElementById('picture').hidden && document.getElementById('picture').width === 48");
    let before = browser.value(&page, PIXELS);

    // another page sees the same, and what is changed in the first
    let other = browser.open(&served.link());
    browser.wait(
        &other,
        "document.querySelector('.prompt textarea').value === 'a red ball'",
    );
    browser.value(&page, "document.querySelector('.prompt textarea').select(); document.querySelector('.prompt textarea').focus()");
    browser.type_text(&page, "a green field");
    for page in [&page, &other] {
        browser.wait(
            page,
            "document.querySelector('#timeline li').textContent.includes('a green field')",
        );
        browser.wait(
            page,
            "document.querySelector('.prompt textarea').value === 'a green field'",
        );
    }
    browser.wait(&page, &format!("{PIXELS} !== {before}"));

    // keys, as in the window
    browser.value(&page, "document.activeElement.blur()");
    browser.key(&page, " ", " ");
    browser.wait(
        &other,
        "document.getElementById('pause').getAttribute('aria-pressed') === 'true'",
    );
    browser.key(&page, "z", "z");
    browser.wait(
        &page,
        "document.querySelectorAll('#timeline li').length === 2",
    );

    // a second render waits, and is seen after a reload
    let (status, _) = served.post("/api/runs", &json!({ "recipe": LONG, "name": "second" }));
    assert_eq!(status, 202);
    browser.call(Some(&page), "Page.reload", json!({}));
    browser.wait(&page, "document.querySelectorAll('#jobs li').length === 2");
    browser.wait(
        &page,
        "document.querySelector('#jobs li:last-child').textContent.includes('waits')",
    );
    browser.value(&page, "document.getElementById('stop').click()");
    browser.wait(
        &page,
        "document.getElementById('run-name').textContent === 'second-001'",
    );
    browser.wait(&page, "document.querySelectorAll('#runs li').length >= 1");
    let recipe =
        Recipe::load(&folder.path().join("runs/a-red-ball-001/recipe.yaml")).expect("a recipe");
    assert!(recipe.timeline.last().is_some_and(|edit| edit.stop));
}
