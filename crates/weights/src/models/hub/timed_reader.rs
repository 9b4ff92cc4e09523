//! A reader with a limit on how long no byte may come.

use std::io::{self, ErrorKind, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Bytes in a piece, and how many pieces are buffered.
const PIECE: usize = 1 << 16;
const BUFFERED: usize = 8;

/// Reads in a thread of its own, so that the wait for the next bytes can end: the HTTP client limits the time of a whole body, not that between two
/// pieces of it. A thread that is left behind ends with its connection.
pub struct TimedReader {
    pieces: Receiver<io::Result<Vec<u8>>>,
    timeout: Duration,
}

impl TimedReader {
    /// Starts to read.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn new(mut input: impl Read + Send + 'static, timeout: Duration) -> io::Result<Self> {
        let (sender, pieces) = sync_channel(BUFFERED);
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
                if sender.send(piece).is_err() || last {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name("download".to_owned());
        thread.spawn(read)?;
        Ok(Self { pieces, timeout })
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// If reading fails, or, as [`ErrorKind::TimedOut`], no byte comes in time.
    pub fn next(&self) -> io::Result<Option<Vec<u8>>> {
        match self.pieces.recv_timeout(self.timeout) {
            Ok(piece) => piece.map(Some),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(ErrorKind::TimedOut.into()),
        }
    }
}
