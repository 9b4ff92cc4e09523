//! The sources of tensors' bytes.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::read::DeflateDecoder;

/// A file that several tensors are read from.
pub type SharedFile = Arc<Mutex<File>>;

/// What the bytes of tensors are read from.
#[derive(Clone)]
pub enum Source {
    Bytes(&'static [u8]),
    File(SharedFile),
    /// A compressed part of a zip archive: `packed` bytes from `start` on.
    Deflated {
        file: SharedFile,
        start: u64,
        packed: u64,
    },
    Random {
        seed: u64,
    },
}

impl Source {
    /// Whether a few of its bytes can be read without those before them.
    pub fn is_flat(&self) -> bool {
        matches!(self, Self::Bytes(_) | Self::File(_))
    }

    /// Reads `length` bytes from `start` on.
    ///
    /// # Errors
    /// If there are fewer, or they cannot be read.
    pub fn read(&self, start: u64, length: usize) -> io::Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => {
                let start = usize::try_from(start).unwrap_or(usize::MAX);
                let part = bytes.get(start..).and_then(|rest| rest.get(..length));
                part.map(<[u8]>::to_vec)
                    .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
            Self::Random { .. } => Ok(vec![0; length]),
            Self::File(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                let mut bytes = vec![0; length];
                file.seek(SeekFrom::Start(start))?;
                file.read_exact(&mut bytes)?;
                Ok(bytes)
            }
            Self::Deflated {
                file,
                start: begin,
                packed,
            } => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                let mut inflated = inflate(&mut file, *begin, *packed)?;
                let skipped = io::copy(&mut inflated.by_ref().take(start), &mut io::sink())?;
                // allocates only what is there, whatever size the archive claims
                let mut bytes = vec![];
                inflated.take(length as u64).read_to_end(&mut bytes)?;
                if skipped != start || bytes.len() != length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(bytes)
            }
        }
    }
}

/// Decompresses `packed` bytes of a file from `start` on.
pub fn inflate(file: &mut File, start: u64, packed: u64) -> io::Result<impl Read> {
    file.seek(SeekFrom::Start(start))?;
    Ok(DeflateDecoder::new(BufReader::new(file.take(packed))))
}
