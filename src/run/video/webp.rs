//! Animated lossless WebP: frames of the encoder for stills in a container of our own.
//!
//! The container (RFC 9649, section 2.7): `RIFF size WEBP`, `VP8X` (flags, canvas), `ANIM` (background, loops), and an `ANMF`
//! for each frame (place, size, duration, flags, and within it the frame's own `VP8L`).

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, RgbImage};

use super::{Clock, Encoder, VideoError, unwritable};

/// `VP8X`: the file has an animation.
const ANIMATION: u8 = 1 << 1;
/// `ANMF`: the frame replaces what was there.
const NO_BLEND: u8 = 1 << 1;
/// A duration has 24 bits, in milliseconds.
const LONGEST: u64 = (1 << 24) - 1;

pub(super) struct WebP {
    out: BufWriter<File>,
    path: PathBuf,
    /// Bytes after the size that the file begins with.
    size: u64,
    clock: Clock,
}

impl WebP {
    pub fn new(file: File, path: &Path, (width, height): (u32, u32)) -> Result<Self, VideoError> {
        let mut header = b"RIFF\0\0\0\0WEBP".to_vec();
        let size = [u24(width - 1), u24(height - 1)].concat();
        chunk(&mut header, b"VP8X", &[&[ANIMATION, 0, 0, 0], &size]);
        // no background, loops for ever
        chunk(&mut header, b"ANIM", &[&[0; 6]]);
        let mut out = BufWriter::new(file);
        out.write_all(&header).map_err(unwritable(path))?;
        Ok(Self {
            out,
            path: path.to_owned(),
            size: header.len() as u64 - 8,
            clock: Clock::default(),
        })
    }
}

impl Encoder for WebP {
    fn push(&mut self, image: &RgbImage, seconds: f64) -> Result<(), VideoError> {
        let milliseconds = self.clock.advance(seconds, 1000.0, 1).min(LONGEST);
        let mut write = || -> io::Result<u64> {
            let (width, height) = image.dimensions();
            let mut still = vec![];
            WebPEncoder::new_lossless(&mut still)
                .encode(image.as_raw(), width, height, ExtendedColorType::Rgb8)
                .map_err(io::Error::other)?;
            // after `RIFF size WEBP` the file of a still has a single chunk
            let pixels = (still.get(12..))
                .filter(|chunk| chunk.starts_with(b"VP8L"))
                .ok_or_else(|| io::Error::other("the still encoder wrote no VP8L chunk"))?;
            let numbers = [width - 1, height - 1, milliseconds as u32];
            let size = numbers.map(u24).concat();
            let mut frame = vec![];
            chunk(&mut frame, b"ANMF", &[&[0; 6], &size, &[NO_BLEND], pixels]);
            if self.size + frame.len() as u64 > u64::from(u32::MAX) - 1 {
                return Err(io::Error::other(
                    "a WebP holds at most 4 GB: take mp4, or fewer frames",
                ));
            }
            self.out.write_all(&frame)?;
            Ok(frame.len() as u64)
        };
        self.size += write().map_err(unwritable(&self.path))?;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), VideoError> {
        let mut complete = || {
            self.out.seek(SeekFrom::Start(4))?;
            self.out.write_all(&(self.size as u32).to_le_bytes())?;
            self.out.flush()?;
            self.out.get_ref().sync_all()
        };
        complete().map_err(unwritable(&self.path))
    }
}

/// Appends a chunk: name, size, parts, and a byte more where the size is odd.
fn chunk(out: &mut Vec<u8>, name: &[u8; 4], parts: &[&[u8]]) {
    let size: usize = parts.iter().map(|part| part.len()).sum();
    out.extend(name);
    out.extend((size as u32).to_le_bytes());
    for part in parts {
        out.extend(*part);
    }
    if size % 2 == 1 {
        out.push(0);
    }
}

/// The lower 24 bits, little-endian.
fn u24(value: u32) -> [u8; 3] {
    let [a, b, c, _] = value.to_le_bytes();
    [a, b, c]
}
