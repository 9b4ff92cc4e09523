//! An image tower: preprocessing, normalisation, the network.

use candle_core::{DType, Device, Result as CandleResult, Tensor};
use frozen::{Layer, Pullback, TapsPullback, only_tap};
use image::RgbImage;
use weights::checkpoint::{Branch, Checkpoint, WeightsSize};

use crate::config::{ClipConfig, VisionKind};
use crate::dtype::{Cast, DTypePolicy};
use crate::error::ClipError;
use crate::preprocess::{Preprocess, stack};
use crate::trunk::{LayerKind, Tap};
use crate::vector::unit;
use crate::{resnet, timm, vision};

/// Pictures that are embedded at once take about this many bytes, most of which are freed after every layer.
const BATCH_BYTES: usize = 2 << 30;
/// Larger batches are no faster.
const MAX_BATCH: usize = 32;

/// One image tower.
pub struct Tower {
    name: String,
    weight: f64,
    size: WeightsSize,
    preprocess: Preprocess,
    image_bytes: usize,
    normalize: Normalize,
    net: Cast,
}

impl Tower {
    /// Reads the image tower of a checkpoint.
    pub fn build(
        name: &str,
        config: &ClipConfig,
        checkpoint: &Checkpoint,
        mut dtypes: DTypePolicy,
        device: &Device,
    ) -> Result<Self, ClipError> {
        // the gradient of a ResNet overflows f16; these networks are small, and f32 costs little
        if matches!(config.vision.kind, VisionKind::ResNet { .. }) {
            dtypes.compute = DType::F32;
        }
        let before = checkpoint.used_size();
        let weights = Branch::root(checkpoint, device).of_types(dtypes.weights, dtypes.compute);
        let size = config.vision.image_size;
        let net = match &config.vision.kind {
            VisionKind::Transformer(vit) => {
                vision::vision_transformer(weights, config.layout, size, vit, config.projection)?
            }
            VisionKind::ResNet {
                layers,
                width,
                heads,
            } => resnet::modified_resnet(weights, size, layers, *width, *heads, config.projection)?,
            VisionKind::Timm(timm) => timm::tower(weights, timm, size, config.projection)?,
        };
        let image_bytes = net.floats() * dtypes.compute.size_in_bytes();
        let net = Cast {
            net,
            dtype: dtypes.compute,
        };
        let normalize = Normalize::new(&config.mean, &config.std, device)?;
        Ok(Self {
            name: name.to_owned(),
            weight: 1.0,
            size: checkpoint.used_size() - before,
            preprocess: config.preprocess,
            image_bytes,
            normalize,
            net,
        })
    }

    /// The same tower with another [`weight`](Self::weight).
    pub(crate) fn with_weight(self, weight: f64) -> Self {
        Self { weight, ..self }
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How much it counts in guidance relative to the CLIP's other towers.
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// How large its weights are.
    pub fn weights_size(&self) -> WeightsSize {
        self.size
    }

    /// Side of its input in pixels.
    pub fn size(&self) -> usize {
        self.preprocess.size
    }

    /// How pictures are preprocessed for it.
    pub fn preprocess(&self) -> Preprocess {
        self.preprocess
    }

    /// About how many bytes one image takes while its gradient is computed.
    pub fn bytes_per_image(&self) -> usize {
        self.image_bytes
    }

    /// The number and the kind of the layers that [`Tower::vjp_taps`] can read.
    pub fn layers(&self) -> (usize, LayerKind) {
        (self.net.net.len(), self.net.net.kind())
    }

    /// Whether the first token of what a block gives is a class token, which has no position.
    pub fn has_class_token(&self) -> bool {
        self.net.net.has_class_token()
    }

    /// What the network's layers make of images `[n, 3, size, size]` in 0..=1, and the function that takes the gradients of all of these values
    /// back to the images. Layers beyond the last of the taps are not computed.
    ///
    /// # Errors
    /// When it has no such layer, or fails.
    pub fn vjp_taps(&self, x: &Tensor, taps: &[Tap]) -> CandleResult<(Vec<Tensor>, TapsPullback)> {
        let (normal, back_to_x) = self.normalize.vjp(x)?;
        let (values, back_to_normal) = self.net.vjp_taps(&normal, taps)?;
        let pullback = move |grads: &[Tensor]| back_to_x(&back_to_normal(grads)?);
        Ok((values, Box::new(pullback)))
    }

    /// The embeddings of images `[n, 3, size, size]` in 0..=1, each of unit length.
    ///
    /// # Errors
    /// If the model fails.
    pub fn embed_images(&self, images: &Tensor) -> CandleResult<Vec<Vec<f32>>> {
        let rows = self.eval(images)?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
        Ok(rows.into_iter().map(unit).collect())
    }

    /// The embeddings of pictures that went through its [`Preprocess`], each of unit length. Memory is bounded: many pictures are embedded in
    /// several batches.
    ///
    /// # Errors
    /// If the model fails.
    pub fn embed_preprocessed(
        &self,
        pictures: &[&RgbImage],
        device: &Device,
    ) -> CandleResult<Vec<Vec<f32>>> {
        let batch = (BATCH_BYTES / self.image_bytes.max(1)).clamp(1, MAX_BATCH);
        let mut embeddings = Vec::with_capacity(pictures.len());
        for pictures in pictures.chunks(batch) {
            embeddings.extend(self.embed_images(&stack(pictures, device)?)?);
        }
        Ok(embeddings)
    }

    /// The embedding of a picture of any size, of unit length.
    ///
    /// # Errors
    /// If the picture is empty or the model fails.
    pub fn embed_picture(&self, picture: &RgbImage, device: &Device) -> CandleResult<Vec<f32>> {
        let picture = self.preprocess.apply(picture)?;
        let embeddings = self.embed_preprocessed(&[&picture], device)?;
        Ok(embeddings.into_iter().next().unwrap_or_default())
    }
}

/// `[batch, 3, size, size]` in 0..=1 to `[batch, projection]`, not yet of unit length.
impl Layer for Tower {
    fn eval(&self, x: &Tensor) -> CandleResult<Tensor> {
        self.net.eval(&self.normalize.eval(x)?)
    }

    fn vjp(&self, x: &Tensor) -> CandleResult<(Tensor, Pullback)> {
        only_tap(self.vjp_taps(x, &[Tap::Embedding])?)
    }
}

/// `(x - mean) / std` by channel.
struct Normalize {
    scale: Tensor,
    shift: Tensor,
}

impl Normalize {
    fn new(mean: &[f64; 3], std: &[f64; 3], device: &Device) -> CandleResult<Self> {
        let channel = |values: [f64; 3]| {
            let values = values.map(|value| value as f32);
            Tensor::from_slice(&values, (1, 3, 1, 1), device)
        };
        Ok(Self {
            scale: channel(std.map(|std| 1.0 / std))?,
            shift: channel([0, 1, 2].map(|c| -mean[c] / std[c]))?,
        })
    }
}

impl Layer for Normalize {
    fn eval(&self, x: &Tensor) -> CandleResult<Tensor> {
        x.broadcast_mul(&self.scale)?.broadcast_add(&self.shift)
    }

    fn vjp(&self, x: &Tensor) -> CandleResult<(Tensor, Pullback)> {
        let scale = self.scale.clone();
        Ok((
            self.eval(x)?,
            Box::new(move |grad| grad.broadcast_mul(&scale)),
        ))
    }
}
