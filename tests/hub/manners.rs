//! A hub of one model, which speaks the hub's file protocol, and misbehaves where it is told to.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The timeout of downloads that stall.
pub const SHORT: Duration = Duration::from_millis(300);

/// How the server treats the weights.
#[derive(Clone, Copy, PartialEq)]
pub enum Manner {
    Well,
    /// The first answers break off after so many bytes.
    Breaks {
        times: usize,
        after: usize,
    },
    /// Every answer breaks off at once.
    Dead,
    /// Answers stop to come after so many bytes, but stay open; the first ones, or all.
    Stalls {
        times: usize,
        after: usize,
    },
    /// The bytes are others than the checksum's.
    Lies,
    /// More bytes come than were announced.
    Overflows,
    /// The first answer to a HEAD is a fault of the server.
    Stumbles,
    Refuses,
    /// Only a pickle is there.
    PickleOnly,
}

pub struct Server {
    pub endpoint: String,
    pub log: Arc<Mutex<Vec<String>>>,
}

pub fn weights() -> Vec<u8> {
    (0..300_000u32)
        .map(|index| (index * 7 % 251) as u8)
        .collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

pub fn serve(manner: Manner) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let log = Arc::new(Mutex::new(vec![]));
    let seen = Arc::clone(&log);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let seen = Arc::clone(&seen);
            // some are slow
            std::thread::spawn(move || answer(stream, manner, &seen));
        }
    });
    Server { endpoint, log }
}

pub fn answer(
    mut stream: TcpStream,
    manner: Manner,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let (mut from, mut token) = (0, String::new());
    for line in lines {
        let line = line?;
        let lower = line.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = lower.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().unwrap_or(0);
        }
        if let Some(value) = line
            .strip_prefix("authorization: ")
            .or(line.strip_prefix("Authorization: "))
        {
            token = value.to_owned();
        }
    }
    let (seen, count) = {
        let mut log = log.lock().expect("the log");
        log.push(format!("{request} from={from} {token}"));
        let same = |line: &&String| line.starts_with(&request);
        (log.iter().filter(same).count(), log.len())
    };
    let head = request.starts_with("HEAD");
    let file = request
        .split(' ')
        .nth(1)
        .and_then(|path| path.rsplit('/').next())
        .unwrap_or_default();
    let say = |stream: &mut TcpStream, status: &str, headers: &str| {
        write!(
            stream,
            "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n"
        )
    };
    if manner == Manner::Stumbles && count == 1 {
        return say(&mut stream, "503 Busy", "Content-Length: 0\r\n");
    }
    if manner == Manner::Refuses {
        return say(&mut stream, "401 Unauthorized", "Content-Length: 0\r\n");
    }
    let body = match (file, manner) {
        ("config.json", _) => b"{}".to_vec(),
        ("model.safetensors", Manner::PickleOnly) => vec![],
        ("model.safetensors", _) | ("pytorch_model.bin", Manner::PickleOnly) => weights(),
        _ => vec![],
    };
    if body.is_empty() || !request.contains(COMMIT) && !request.contains("/main/") {
        return say(&mut stream, "404 Not Found", "Content-Length: 0\r\n");
    }
    let large = body.len() > 1000;
    let etag = if large { sha256(&body) } else { "a".repeat(40) };
    let about = format!(
        "X-Repo-Commit: {COMMIT}\r\nX-Linked-Etag: \"{etag}\"\r\nX-Linked-Size: {}\r\n",
        body.len()
    );
    if head {
        return say(
            &mut stream,
            "302 Found",
            &format!("{about}Location: https://elsewhere.invalid/\r\nContent-Length: 0\r\n"),
        );
    }
    let mut body = body;
    if large && manner == Manner::Lies {
        body[5] ^= 1;
    }
    if large && manner == Manner::Overflows {
        body.extend_from_slice(b"and more");
    }
    let part = &body[from.min(body.len())..];
    let status = if from > 0 {
        "206 Partial Content"
    } else {
        "200 OK"
    };
    say(
        &mut stream,
        status,
        &format!("{about}Content-Length: {}\r\n", part.len()),
    )?;
    let mut is_silent = false;
    let end = match manner {
        Manner::Stalls { times, after } if large && seen <= times => {
            is_silent = true;
            // what was sent once is not sent again: those who go on get nothing
            after.saturating_sub(from).min(part.len())
        }
        Manner::Breaks { times, after } if large && seen <= times => after.min(part.len()),
        Manner::Dead if large => 0,
        _ => part.len(),
    };
    stream.write_all(&part[..end])?;
    if is_silent {
        stream.flush()?;
        std::thread::sleep(Duration::from_secs(20));
    }
    Ok(())
}
