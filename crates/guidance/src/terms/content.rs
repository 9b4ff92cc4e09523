//! The content term: the composition of an image, as the layers of a CLIP see it.

use candle_core::{DType, Result, Tensor};
use clip::LayerKind;
use phantasia_core::schema;

use crate::features::{EVEN, Moments, SMALLEST, diagonal};
use crate::image_comparison::{LayerTarget, compared_with_image};

compared_with_image! {
    /// Keeps the composition of an image: the layers of a CLIP should make of each part of the picture what they make of the same part of the
    /// image (as in CLIPasso, arXiv 2202.05822). The path of the image alone is all of it.
    #[schemars(rename = "Content", transform = schema::or_image)]
    pub struct Config for Target {
        /// How much it counts. The loss is the mean squared difference of the activations as a share of their variance in the image: 0 for the
        /// image itself, about 2 for an unrelated picture.
        weight = 1.0,
        /// The layers, by number from 0, or backwards from -1: blocks of a transformer, or the four stages of a ResNet. The early ones see edges
        /// and colours, the late ones what a thing is. By default the middle one: of twelve blocks 6, of the stages 2.
        layers,
        /// Overrides of the recipe's `cutouts` for this term.
        cutouts,
    }
}

/// The composition of an image at one layer.
struct Target {
    /// The variance of the image's activations.
    variance: f64,
}

impl LayerTarget for Target {
    const NAME: &'static str = "content";
    const TOWER: usize = 0x2000;
    const SAME_VIEWS: bool = true;
    const SIDES: Option<(f64, f64)> = None;

    fn default_layers(_: LayerKind, count: usize) -> Vec<usize> {
        vec![count / 2]
    }

    /// The mean variance of the channels, and a little of their mean square, so that an even image has one.
    fn new(moments: &Moments) -> Result<Self> {
        let (mean, covariance) = moments.mean_and_covariance()?;
        let variance = diagonal(&covariance)?.mean_all()?.to_dtype(DType::F64)?;
        let square = mean.sqr()?.mean_all()?.to_dtype(DType::F64)?;
        Ok(Self {
            variance: variance.to_scalar::<f64>()? + EVEN * square.to_scalar::<f64>()? + SMALLEST,
        })
    }

    fn loss(
        &self,
        found: &Tensor,
        wanted: Option<&Tensor>,
        weights: &Tensor,
        share: f64,
    ) -> Result<(f64, Tensor)> {
        let Some(wanted) = wanted else {
            candle_core::bail!("the image's activations are missing");
        };
        let (_, positions, channels) = found.dims3()?;
        let difference = (found - wanted)?;
        let scale = share / (self.variance * (positions * channels) as f64);
        let weighted = difference.broadcast_mul(weights)?;
        let sum = (&weighted * difference)?.sum_all()?.to_dtype(DType::F64)?;
        Ok((scale * sum.to_scalar::<f64>()?, (weighted * (2.0 * scale))?))
    }
}
