//! Pictures in the joint space.

use candle_core::{DType, Device, Result as CandleResult, Tensor};
use frozen::Layer;
use image::RgbImage;

use super::preprocess::stack;
use super::{Tower, unit};

/// A batch of pictures takes about this many bytes; most of it is freed after every layer.
const BATCH_MEMORY: usize = 2 << 30;
/// Larger batches are no faster.
const MOST_IN_BATCH: usize = 32;

impl Tower {
    /// The embeddings of images `[n, 3, size, size]` with values in 0..=1, each of unit length.
    ///
    /// # Errors
    /// When the model fails.
    pub fn embed(&self, images: &Tensor) -> CandleResult<Vec<Vec<f32>>> {
        let rows = self.eval(images)?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        Ok(rows.into_iter().map(unit).collect())
    }

    /// The embeddings of pictures that went through [`Tower::preprocess`], in batches.
    ///
    /// # Errors
    /// When the model fails.
    pub fn embed_preprocessed(
        &self,
        pictures: &[&RgbImage],
        device: &Device,
    ) -> CandleResult<Vec<Vec<f32>>> {
        let batch = (BATCH_MEMORY / self.bytes_per_image().max(1)).clamp(1, MOST_IN_BATCH);
        let mut embeddings = Vec::with_capacity(pictures.len());
        for pictures in pictures.chunks(batch) {
            embeddings.extend(self.embed(&stack(pictures.iter().copied(), device)?)?);
        }
        Ok(embeddings)
    }

    /// The embedding of a picture of any size, of unit length.
    ///
    /// # Errors
    /// When the picture has no pixels, or the model fails.
    pub fn embed_picture(&self, picture: &RgbImage, device: &Device) -> CandleResult<Vec<f32>> {
        let picture = self.preprocess().show(picture)?;
        let embeddings = self.embed_preprocessed(&[&picture], device)?;
        Ok(embeddings.into_iter().flatten().collect())
    }
}
