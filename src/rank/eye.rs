//! What judges see and read with: CLIPs whose towers count as one.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use image::RgbImage;

use crate::clip::preprocess::{Preprocess, stack};
use crate::clip::{Clip, Tower, Unread, unit};
use crate::objective::embed_images;

/// Pictures that are seen at once take about this many bytes; most of it is freed after every layer.
const MEMORY: usize = 2 << 30;
/// More pictures at once are no faster.
const MOST_AT_ONCE: usize = 32;

/// One CLIP. Its image towers count as one: their embeddings stand side by side, so that the product of a picture's vector
/// and a text's is the mean of the towers' cosines.
pub struct Eye {
    clip: Arc<Clip>,
    /// Which of the panel's looks each tower is shown.
    looks: Vec<usize>,
}

impl Eye {
    /// What messages call it.
    pub fn name(&self) -> &str {
        self.clip.name()
    }

    /// How many image towers it judges by.
    pub fn towers(&self) -> usize {
        self.looks.len()
    }

    /// Length of its vectors.
    pub fn width(&self) -> usize {
        self.clip.projection() * self.looks.len()
    }

    /// What its cosines are multiplied by before a softmax.
    pub fn logit_scale(&self) -> f32 {
        self.clip.logit_scale()
    }

    /// The bias added to its scaled cosines, if it was trained with a sigmoid loss; see [`Clip::logit_bias`].
    pub fn logit_bias(&self) -> Option<f32> {
        self.clip.logit_bias()
    }

    /// A text as a vector of unit length, `[width]`, and what of it the model does not read.
    ///
    /// # Errors
    /// When nothing of the text can be read, or the model fails.
    pub fn read(&self, text: &str) -> Result<(Vec<f32>, Unread)> {
        let embedding = self.clip.embed_text(text)?;
        let beside = vec![embedding.vector; self.looks.len()].concat();
        Ok((
            self.checked(unit(beside), || format!("\"{text}\""))?,
            embedding.unread,
        ))
    }

    /// Pictures as vectors of unit length.
    fn see(&self, pictures: &[Shown], device: &Device) -> Result<Vec<Vec<f32>>> {
        let mut vectors = vec![Vec::with_capacity(self.width()); pictures.len()];
        for (tower, look) in self.clip.judges().zip(&self.looks) {
            let at_once = at_once(tower);
            for (chunk, vectors) in pictures.chunks(at_once).zip(vectors.chunks_mut(at_once)) {
                let views = chunk.iter().map(|picture| &picture.0[*look]);
                let seen = embed_images(tower, &stack(views, device)?)
                    .with_context(|| format!("the CLIP `{}` failed", tower.name()))?;
                for (vector, seen) in vectors.iter_mut().zip(seen) {
                    vector.extend(seen);
                }
            }
        }
        vectors
            .into_iter()
            .map(|vector| self.checked(unit(vector), || "a picture".to_owned()))
            .collect()
    }

    fn checked(&self, vector: Vec<f32>, of: impl Fn() -> String) -> Result<Vec<f32>> {
        if vector.iter().any(|value| !value.is_finite()) {
            bail!(
                "the CLIP `{}` gives no numbers for {}: its weights are damaged, or of another model",
                self.name(),
                of()
            );
        }
        Ok(vector)
    }
}

fn at_once(tower: &Tower) -> usize {
    (MEMORY / tower.bytes_per_image().max(1)).clamp(1, MOST_AT_ONCE)
}

/// A picture as each of a panel's looks shows it.
#[derive(Clone, Debug)]
pub struct Shown(Vec<RgbImage>);

/// Several CLIPs that look at the same pictures, each decoded once.
pub struct Panel {
    eyes: Vec<Eye>,
    looks: Vec<Preprocess>,
    device: Device,
}

impl Panel {
    /// A panel of these CLIPs, whose weights are on `device`.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(clips: Vec<Arc<Clip>>, device: &Device) -> Result<Self> {
        if clips.is_empty() {
            bail!("a judge needs at least one CLIP");
        }
        let mut looks: Vec<Preprocess> = vec![];
        let mut place = |look: Preprocess| match looks.iter().position(|known| *known == look) {
            Some(place) => place,
            None => {
                looks.push(look);
                looks.len() - 1
            }
        };
        let eyes = clips
            .into_iter()
            .map(|clip| Eye {
                looks: clip
                    .judges()
                    .map(|tower| place(tower.preprocess()))
                    .collect(),
                clip,
            })
            .collect();
        Ok(Self {
            eyes,
            looks,
            device: device.clone(),
        })
    }

    /// The CLIPs, at least one.
    pub fn eyes(&self) -> &[Eye] {
        &self.eyes
    }

    /// Warnings about what was assumed of the CLIPs because their files do not say it.
    pub fn warnings(&self) -> impl Iterator<Item = &String> {
        self.eyes.iter().flat_map(|eye| eye.clip.warnings())
    }

    /// The picture as the CLIPs are shown it. It is small, whatever the picture's size.
    ///
    /// # Errors
    /// When the picture is empty.
    pub fn show(&self, picture: &RgbImage) -> Result<Shown> {
        let shown = self.looks.iter().map(|look| look.show(picture));
        Ok(Shown(shown.collect::<candle_core::Result<_>>()?))
    }

    /// For each picture a vector of unit length from each CLIP: `[picture][eye][width]`.
    ///
    /// # Errors
    /// When a model fails, or gives what is not a number.
    pub fn see(&self, pictures: &[Shown]) -> Result<Vec<Vec<Vec<f32>>>> {
        let mut seen = vec![Vec::with_capacity(self.eyes.len()); pictures.len()];
        for eye in &self.eyes {
            for (seen, vector) in seen.iter_mut().zip(eye.see(pictures, &self.device)?) {
                seen.push(vector);
            }
        }
        Ok(seen)
    }
}

/// The product of two vectors; of vectors of unit length, their cosine.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    // lanes that do not wait for each other
    const LANES: usize = 16;
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0f32; LANES];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().map(|sum| f64::from(*sum)).sum::<f64>() + f64::from(rest)
}
