//! The bytes of a pickle's program, counted as they are read.

use std::io::{self, Read};

/// The limit for a pickle, in bytes; those of state dicts are smaller.
const PICKLE_LIMIT: u64 = 64 << 20;
/// The longest name of a class, in bytes.
const LINE_LIMIT: usize = 1000;

/// A reader that refuses programs of more than [`PICKLE_LIMIT`] bytes.
pub struct Program<R> {
    input: R,
    /// How many bytes have been read.
    pub taken: u64,
    /// How many of them do not count.
    free: u64,
}

/// The error of a truncated program.
pub fn too_early() -> String {
    "its pickle ends too early".to_owned()
}

fn unreadable(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => too_early(),
        _ => format!("its pickle cannot be read ({error})"),
    }
}

impl<R: Read> Program<R> {
    pub fn new(input: R) -> Self {
        Self {
            input,
            taken: 0,
            free: 0,
        }
    }

    /// Counts bytes of the program before they are read.
    fn count(&mut self, bytes: u64) -> Result<(), String> {
        match self.taken.checked_add(bytes) {
            Some(taken) if taken - self.free <= PICKLE_LIMIT => {
                self.taken = taken;
                Ok(())
            }
            _ => Err(format!(
                "its pickle ends too early, or has more than {} MiB",
                PICKLE_LIMIT >> 20
            )),
        }
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.count(N as u64)?;
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).map_err(unreadable)?;
        Ok(bytes)
    }

    pub fn byte(&mut self) -> Result<u8, String> {
        Ok(self.array::<1>()?[0])
    }

    /// An unsigned number of `N` bytes, at most eight, little-endian.
    pub fn number<const N: usize>(&mut self) -> Result<u64, String> {
        let mut bytes = [0; 8];
        bytes[..N].copy_from_slice(&self.array::<N>()?);
        Ok(u64::from_le_bytes(bytes))
    }

    pub fn bytes(&mut self, length: u64) -> Result<Vec<u8>, String> {
        self.count(length)?;
        // allocates only what is there, whatever the length claims
        let mut bytes = vec![];
        let mut part = self.input.by_ref().take(length);
        part.read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 != length {
            return Err(too_early());
        }
        Ok(bytes)
    }

    pub fn skip(&mut self, length: u64) -> Result<(), String> {
        self.count(length)?;
        let mut part = self.input.by_ref().take(length);
        let found = io::copy(&mut part, &mut io::sink()).map_err(unreadable)?;
        if found != length {
            return Err(too_early());
        }
        Ok(())
    }

    /// Passes over bytes that do not count, because the file has them in full.
    pub fn pass(&mut self, length: u64) -> Result<(), String> {
        self.free = self.free.saturating_add(length);
        self.skip(length)
    }

    pub fn line(&mut self) -> Result<Box<str>, String> {
        let mut line = vec![];
        loop {
            match self.byte()? {
                b'\n' => break,
                byte => line.push(byte),
            }
            if line.len() > LINE_LIMIT {
                return Err(format!(
                    "its pickle names a class by more than {LINE_LIMIT} bytes"
                ));
            }
        }
        Ok(String::from_utf8_lossy(&line).into())
    }
}
