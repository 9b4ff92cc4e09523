//! Animated GIF, with a palette for each frame.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use ::gif::{DisposalMethod, EncodingError, Frame, Repeat};
use image::RgbImage;

use super::{Clock, Encoder, VideoError, unwritable};

/// NeuQuant learns the palette from about this many pixels; more take longer, without a visible difference.
const SAMPLES: usize = 20_000;
/// The range of the dither in levels: about the steps of the palette.
const DITHER: f32 = 14.0;
/// In hundredths of a second. Browsers show a frame with a shorter delay for 10.
const LEAST_DELAY: u64 = 2;

pub(super) struct Gif {
    encoder: ::gif::Encoder<BufWriter<File>>,
    path: PathBuf,
    clock: Clock,
}

impl Gif {
    pub fn new(file: File, path: &Path, (width, height): (u32, u32)) -> Result<Self, VideoError> {
        let failed = failed(path);
        let side = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
        let out = BufWriter::new(file);
        let mut encoder =
            ::gif::Encoder::new(out, side(width), side(height), &[]).map_err(&failed)?;
        encoder.set_repeat(Repeat::Infinite).map_err(&failed)?;
        Ok(Self {
            encoder,
            path: path.to_owned(),
            clock: Clock::default(),
        })
    }
}

impl Encoder for Gif {
    fn push(&mut self, image: &RgbImage, seconds: f64) -> Result<(), VideoError> {
        let (width, height) = (image.width() as u16, image.height() as u16);
        let speed = (image.as_raw().len() / 3 / SAMPLES).clamp(1, 30) as i32;
        let mut frame = Frame::from_rgb_speed(width, height, &dithered(image), speed);
        let delay = self.clock.advance(seconds, 100.0, LEAST_DELAY);
        frame.delay = u16::try_from(delay).unwrap_or(u16::MAX);
        frame.dispose = DisposalMethod::Keep;
        let result = self.encoder.write_frame(&frame);
        result.map_err(failed(&self.path))
    }

    fn finish(self: Box<Self>) -> Result<(), VideoError> {
        let failed = failed(&self.path);
        let mut out = self.encoder.into_inner().map_err(failed)?;
        let sync = out.flush().and_then(|()| out.get_ref().sync_all());
        sync.map_err(unwritable(&self.path))
    }
}

/// The pixels with an ordered dither, which turns the palette's steps from edges into a fine grain. The pattern is the same in all
/// frames; error diffusion would flicker.
fn dithered(image: &RgbImage) -> Vec<u8> {
    let mut bytes = image.as_raw().clone();
    let width = image.width() as usize * 3;
    for (y, row) in bytes.chunks_exact_mut(width).enumerate() {
        for (x, pixel) in row.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let offset = (f32::from(bayer(x, y)) / 63.0 - 0.5) * DITHER;
            for level in pixel {
                *level = (f32::from(*level) + offset).round().clamp(0.0, 255.0) as u8;
            }
        }
    }
    bytes
}

/// Bayer's matrix of 8 x 8, 0..=63: the bits of x ^ y and y, interleaved, the lowest first.
fn bayer(x: usize, y: usize) -> u8 {
    (0..3).fold(0, |value, bit| {
        let pair = ((x ^ y) >> bit & 1) << 1 | (y >> bit & 1);
        value << 2 | pair as u8
    })
}

fn failed(path: &Path) -> impl Fn(EncodingError) -> VideoError + '_ {
    |error| {
        unwritable(path)(match error {
            EncodingError::Io(error) => error,
            other => io::Error::other(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dither_has_each_level_once() {
        let mut levels: Vec<_> = (0..64).map(|i| bayer(i % 8, i / 8)).collect();
        assert_eq!(levels[..2], [0, 32]);
        levels.sort();
        assert!(levels.into_iter().eq(0..64));
    }
}
