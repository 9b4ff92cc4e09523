//! A served program, and its clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::common::program::{interrupt, program, text};

const PATIENCE: Duration = Duration::from_secs(60);

/// A program that serves the page; it is killed when it is dropped.
pub struct Served {
    child: Child,
    /// Address and port.
    pub host: String,
    pub token: String,
}

impl Served {
    /// Starts the program and reads the link that it prints.
    pub fn start(folder: &Path, args: &[&str]) -> Self {
        let mut command = program(folder, args);
        let mut child = command
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the program");
        let mut lines = BufReader::new(child.stderr.take().expect("its standard error")).lines();
        let mut said = vec![];
        let link = loop {
            match lines.next() {
                Some(Ok(line)) if line.starts_with("http://") => break line,
                Some(Ok(line)) => said.push(line),
                _ => panic!("no link: {said:?}"),
            }
        };
        // so that it never waits for its standard error to be read
        std::thread::spawn(move || lines.for_each(drop));
        let (host, token) = link["http://".len()..]
            .split_once("/?token=")
            .expect("a token");
        let (host, token) = (host.to_owned(), token.to_owned());
        Self { child, host, token }
    }

    /// What is said by a program that does not start.
    pub fn refused(folder: &Path, args: &[&str]) -> String {
        let output = program(folder, args).output().expect("the program");
        assert!(!output.status.success());
        text(&output.stderr)
    }

    /// The link to the page.
    pub fn link(&self) -> String {
        format!("http://{}/?token={}", self.host, self.token)
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.host).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// The head of a request with the token.
    pub fn head(&self, method: &str, path: &str, more: &str) -> String {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n{more}\r\n",
            self.host, self.token
        )
    }

    /// A request with no other headers than these.
    pub fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (u16, Vec<u8>) {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut stream = self.connect();
        stream.write_all(head.as_bytes()).expect("a request");
        stream.write_all(b"\r\n").expect("a request");
        stream.write_all(body).expect("a request");
        answer_of(&mut stream)
    }

    /// A request with the token.
    pub fn send(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let bearer = format!("Bearer {}", self.token);
        self.raw(
            method,
            path,
            &[("Host", &self.host), ("Authorization", &bearer)],
            body,
        )
    }

    pub fn get(&self, path: &str) -> (u16, Vec<u8>) {
        self.send("GET", path, b"")
    }

    /// The status of an answer, if there is one.
    pub fn try_get(&self, path: &str) -> Option<u16> {
        let mut stream = TcpStream::connect(&self.host).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream
            .write_all(self.head("GET", path, "").as_bytes())
            .ok()?;
        let mut answer = vec![];
        stream.read_to_end(&mut answer).ok()?;
        text(&answer).split(' ').nth(1)?.parse().ok()
    }

    pub fn post(&self, path: &str, body: &Value) -> (u16, Vec<u8>) {
        self.send("POST", path, body.to_string().as_bytes())
    }

    #[track_caller]
    pub fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{}", text(&body));
        serde_json::from_slice(&body).expect("JSON")
    }

    pub fn reader(&self) -> Reader {
        Reader::connect(&self.host, &format!("?token={}", self.token), None).expect("a reader")
    }

    /// The memory of the program in KiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok())
            .unwrap_or(0)
    }

    /// Waits until it has ended well.
    pub fn end(&mut self) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the program") {
                assert!(status.success(), "{status}");
                return;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends it as Ctrl-C does.
    pub fn interrupt(&mut self) {
        #[cfg(unix)]
        interrupt(&self.child);
        #[cfg(unix)]
        self.end();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The status and body of an answer to a request that closes the connection.
pub fn answer_of(stream: &mut TcpStream) -> (u16, Vec<u8>) {
    let mut answer = vec![];
    let read = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {read:?}, {}", text(&answer)));
    let status = text(&answer[..end])
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.expect("a status"), answer[end + 4..].to_vec())
}

/// A WebSocket to the events.
pub struct Reader(WebSocket<TcpStream>);

impl Reader {
    pub fn connect(host: &str, query: &str, origin: Option<&str>) -> Result<Self, String> {
        let mut request = format!("ws://{host}/api/events{query}")
            .into_client_request()
            .expect("a request");
        if let Some(origin) = origin {
            request
                .headers_mut()
                .insert("Origin", origin.parse().expect("a header"));
        }
        let stream = TcpStream::connect(host).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let shaken = tungstenite::client(request, stream);
        shaken
            .map(|(socket, _)| Self(socket))
            .map_err(|error| error.to_string())
    }

    pub fn stream(&mut self) -> &mut TcpStream {
        self.0.get_mut()
    }

    pub fn send(&mut self, message: Message) -> Result<(), String> {
        self.0.send(message).map_err(|error| error.to_string())
    }

    /// The next event of this name.
    #[track_caller]
    pub fn next_of(&mut self, event: &str) -> Value {
        loop {
            if let Message::Text(told) = self.0.read().expect("an event") {
                let told: Value = serde_json::from_str(&told).expect("JSON");
                if told["event"] == event {
                    return told;
                }
            }
        }
    }

    /// The next state that is wanted.
    #[track_caller]
    pub fn state(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let state = self.next_of("state");
            if wanted(&state) {
                return state;
            }
        }
    }

    /// The bytes of the next picture.
    pub fn next_picture(&mut self) -> Vec<u8> {
        loop {
            if let Message::Binary(bytes) = self.0.read().expect("an event") {
                return bytes.to_vec();
            }
        }
    }

    /// Reads and discards what the server sends; true once it closes the connection.
    pub fn is_closed_soon(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            match self.0.read() {
                Ok(Message::Close(_)) | Err(_) => return true,
                Ok(_) => {}
            }
        }
        false
    }
}
