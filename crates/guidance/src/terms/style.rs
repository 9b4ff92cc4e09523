//! The style term: the look of an image without its composition, as the layers of a CLIP see it.

use candle_core::{DType, Result, Tensor};
use clip::LayerKind;
use phantasia_core::schema;

use crate::features::{EVEN, Moments, SMALLEST, diagonal};
use crate::image_comparison::{LayerTarget, compared_with_image};

/// What is added to the variance of each channel, as a share of the mean variance.
const FLOOR: f64 = 0.1;

compared_with_image! {
    /// Takes the look of an image without its composition: the correlations between what the layers of a CLIP find anywhere in the picture should
    /// be those of the image (Gram matrices, as in Gatys et al. 2016). The path of the image alone is all of it.
    #[schemars(rename = "Style", transform = schema::or_image)]
    pub struct Config for Target {
        /// How much it counts. The loss is how far the correlations are from the image's, as a share of their size. Above 1 the style begins to
        /// cover what the prompts ask for, and images of few, strong motifs, such as stripes, do so from 0.5 on.
        weight = 0.5,
        /// The layers, by number from 0, or backwards from -1: blocks of a transformer, or the four stages of a ResNet. The early ones see colours
        /// and strokes, the late ones motifs. By default the first half of the blocks, or the stages 0 to 2.
        layers,
        /// Overrides of the recipe's `cutouts` for this term. If neither `min` nor `max` is given, cutouts have 0.25 to 1 of the picture's
        /// shorter side.
        cutouts,
    }
}

/// The look of an image at one layer: the Gram matrix of its activations, after each channel is brought to mean 0 and variance 1. Without that, a
/// few channels that are large in every picture would be most of the matrix, as they are in a transformer.
struct Target {
    /// `[channels]`: the mean of each channel in the image.
    mean: Tensor,
    /// `[channels]`: the inverse of its standard deviation.
    scale: Tensor,
    /// `[channels, channels]`: the mean of the products of two channels, over all positions.
    gram: Tensor,
    /// The root of the sum of its squares.
    size: f64,
}

impl LayerTarget for Target {
    const NAME: &'static str = "style";
    const TOWER: usize = 0x3000;
    const SAME_VIEWS: bool = false;
    /// Smaller than those that a CLIP recognises things in, because strokes and textures are.
    const SIDES: Option<(f64, f64)> = Some((0.25, 1.0));

    fn default_layers(kind: LayerKind, count: usize) -> Vec<usize> {
        match kind {
            LayerKind::Block => (0..count / 2).collect(),
            LayerKind::Stage => vec![0, 1, 2],
        }
    }

    fn new(moments: &Moments) -> Result<Self> {
        let (mean, covariance) = moments.mean_and_covariance()?;
        let variance = diagonal(&covariance)?;
        let square = (mean.sqr()?.mean_all()? * EVEN)?;
        let floor = (((variance.mean_all()? * FLOOR)? + square)? + SMALLEST)?;
        let scale = variance.broadcast_add(&floor)?.sqrt()?.recip()?;
        let gram = covariance
            .broadcast_mul(&scale.unsqueeze(1)?)?
            .broadcast_mul(&scale.unsqueeze(0)?)?;
        let size = gram.sqr()?.sum_all()?.to_dtype(DType::F64)?;
        Ok(Self {
            mean,
            scale,
            gram,
            // that of a single channel of variance 1; an even image has less
            size: size.to_scalar::<f64>()?.sqrt().max(1.0),
        })
    }

    /// How far the Gram matrix of each cutout is from the image's (Frobenius norm), as a share of the image's own size. The distance, not its
    /// square: the square of a cutout that is far away would silence all others, and the prompts.
    fn loss(
        &self,
        found: &Tensor,
        _: Option<&Tensor>,
        weights: &Tensor,
        share: f64,
    ) -> Result<(f64, Tensor)> {
        let (_, positions, _) = found.dims3()?;
        let x = (found.broadcast_sub(&self.mean)?).broadcast_mul(&self.scale)?;
        let gram = (x.transpose(1, 2)?.contiguous()?.matmul(&x)? / positions as f64)?;
        let difference = gram.broadcast_sub(&self.gram)?;
        let square = difference.sqr()?.sum_keepdim(2)?.sum_keepdim(1)?;
        // at 0 the gradient is 0 as well
        let distance = (square + SMALLEST)?.sqrt()?;
        let loss = (&distance * weights)?.sum_all()?.to_dtype(DType::F64)?;
        let loss = loss.to_scalar::<f64>()?;
        let each = (weights / distance)?;
        let grad = (x.matmul(&difference)?.broadcast_mul(&self.scale)?).broadcast_mul(&each)?;
        let grad = (grad * (2.0 / (positions as f64 * self.size)))?;
        Ok((share * (loss / self.size), (grad * share)?))
    }
}
