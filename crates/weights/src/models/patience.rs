//! Reading from what may fall silent.

use std::io::{self, ErrorKind, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Bytes that are read at once, and how many such pieces wait to be taken.
const PIECE: usize = 1 << 16;
const WAITING: usize = 8;

/// Reads in a thread of its own, so that whoever waits for the next bytes may stop to wait: the HTTP client bounds the time of a whole body,
/// not that of a silence in it. A thread that was left behind ends with its connection.
pub struct Patient {
    pieces: Receiver<io::Result<Vec<u8>>>,
    patience: Duration,
}

impl Patient {
    /// Begins to read; `patience` is how long no byte may come.
    ///
    /// # Errors
    /// Where there can be no thread.
    pub fn new(mut input: impl Read + Send + 'static, patience: Duration) -> io::Result<Self> {
        let (to, pieces) = sync_channel(WAITING);
        let read = move || {
            let mut buffer = vec![0; PIECE];
            loop {
                let piece = match input.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => Ok(buffer[..count].to_vec()),
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let last = piece.is_err();
                if to.send(piece).is_err() || last {
                    break;
                }
            }
        };
        std::thread::Builder::new()
            .name("download".to_owned())
            .spawn(read)?;
        Ok(Self { pieces, patience })
    }

    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// Where reading failed, or, as [`ErrorKind::TimedOut`], no byte came in time.
    pub fn next(&self) -> io::Result<Option<Vec<u8>>> {
        match self.pieces.recv_timeout(self.patience) {
            Ok(piece) => piece.map(Some),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(ErrorKind::TimedOut.into()),
        }
    }
}
