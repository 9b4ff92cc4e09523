//! Small servers on this machine: a hub, whatever misbehaves like one, and proxies.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What is answered: a status, further headers, a body.
pub struct Answer {
    pub status: &'static str,
    pub headers: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn to(status: &'static str, location: &str) -> Self {
        Self {
            status,
            headers: format!("Location: {location}\r\n"),
            body: vec![],
        }
    }

    pub fn nothing() -> Self {
        Self {
            status: "404 Not Found",
            headers: String::new(),
            body: vec![],
        }
    }
}

pub struct Server {
    pub endpoint: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// The requests so far: `METHOD PATH TOKEN`.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("the log").clone()
    }

    pub fn port(&self) -> &str {
        self.endpoint.rsplit(':').next().expect("a port")
    }
}

/// A server that answers each request by its method and path.
pub fn serve(answer: impl Fn(&str, &str) -> Answer + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let log = Arc::new(Mutex::new(vec![]));
    let (seen, answer) = (Arc::clone(&log), Arc::new(answer));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
            std::thread::spawn(move || respond(stream, &seen, &*answer));
        }
    });
    Server { endpoint, log }
}

fn respond(
    mut stream: TcpStream,
    log: &Mutex<Vec<String>>,
    answer: &dyn Fn(&str, &str) -> Answer,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let mut token = String::new();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if line.to_ascii_lowercase().starts_with("authorization:") {
            token = line;
        }
    }
    let mut words = request.split(' ');
    let method = words.next().unwrap_or_default();
    let path = words.next().unwrap_or_default();
    (log.lock().expect("the log")).push(format!("{method} {path} {token}"));
    let Answer {
        status,
        headers,
        body,
    } = answer(method, path);
    write!(
        stream,
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    )?;
    if method == "HEAD" {
        return Ok(());
    }
    stream.write_all(&body)
}

/// What a hub answers that holds these files in every repository and revision.
pub fn hub_of(files: &[(&str, &[u8])], path: &str) -> Answer {
    let Some((_, name)) = path
        .split_once("/resolve/")
        .and_then(|(_, rest)| rest.split_once('/'))
    else {
        return Answer::nothing();
    };
    let Some((_, body)) = files.iter().find(|(file, _)| *file == name) else {
        return Answer::nothing();
    };
    let etag: String = Sha256::digest(body)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Answer {
        status: "200 OK",
        headers: format!(
            "X-Repo-Commit: {COMMIT}\r\nX-Linked-Etag: \"{etag}\"\r\nX-Linked-Size: {}\r\n",
            body.len()
        ),
        body: body.to_vec(),
    }
}

/// An HTTP proxy that leads every CONNECT to one server, whatever host was asked for; what was asked for.
pub fn connect_proxy(server: &Server) -> Server {
    proxy(server, |client| {
        let mut head = vec![];
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            client.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
        let head = String::from_utf8_lossy(&head).into_owned();
        Ok(head.lines().next().unwrap_or_default().to_owned())
    })
}

/// A SOCKS5 proxy that does the same.
pub fn socks_proxy(server: &Server) -> Server {
    proxy(server, |client| {
        let mut head = [0; 2];
        client.read_exact(&mut head)?;
        client.read_exact(&mut vec![0; head[1].into()])?;
        client.write_all(&[5, 0])?;
        // version, command, reserved, a name, its length
        let mut request = [0; 5];
        client.read_exact(&mut request)?;
        let mut name = vec![0; usize::from(request[4]) + 2];
        client.read_exact(&mut name)?;
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
        name.truncate(name.len() - 2);
        Ok(format!("SOCKS {}", String::from_utf8_lossy(&name)))
    })
}

fn proxy(
    server: &Server,
    greet: impl Fn(&mut TcpStream) -> std::io::Result<String> + Send + Sync + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let log = Arc::new(Mutex::new(vec![]));
    let seen = Arc::clone(&log);
    let target = server.endpoint.replace("http://", "");
    let greet = Arc::new(greet);
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let (seen, target, greet) = (Arc::clone(&seen), target.clone(), Arc::clone(&greet));
            std::thread::spawn(move || -> std::io::Result<()> {
                let asked = greet(&mut client)?;
                seen.lock().expect("the log").push(asked);
                let mut server = TcpStream::connect(target)?;
                let (mut up, mut back) = (client.try_clone()?, server.try_clone()?);
                std::thread::spawn(move || std::io::copy(&mut up, &mut back));
                std::io::copy(&mut server, &mut client)?;
                client.shutdown(std::net::Shutdown::Both)
            });
        }
    });
    Server { endpoint, log }
}
