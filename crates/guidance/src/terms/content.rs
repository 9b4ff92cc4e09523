//! The content term: the composition of an image, as the layers of a CLIP see it.

use anyhow::{Context, Result};
use candle_core::{DType, Tensor};
use clip::LayerKind;
use frozen::add_to;
use phantasia_core::check::Checker;
use phantasia_core::{Schedule, StepContext, schema};

use crate::cutouts::{self, CutoutSampler};
use crate::features::{Features, Moments, Reference, compared_with_image, diagonal};
use crate::{Term, TermConfig, TermContext, TermOutput};

/// Its cutouts are drawn as those of towers from this number on: no recipe has so many, so that the cutouts of others are the same with and
/// without the term.
const TOWER: usize = 0x2000;

/// What is added to the variance of the activations, as a share of their mean square: an even image has no variance.
const EVEN: f64 = 1e-3;
/// Keeps what may be 0 apart from it.
const SMALLEST: f64 = 1e-9;

compared_with_image! {
    /// Keeps the composition of an image: the layers of a CLIP should make of each part of the picture what they make of the same part of the
    /// image (as in CLIPasso, arXiv 2202.05822). The path of the image alone is all of it.
    #[schemars(rename = "Content", transform = schema::or_image)]
    pub struct Config {
        /// How much it counts. The loss is the mean squared difference of the activations as a share of their variance in the image: 0 for the
        /// image itself, about 2 for an unrelated picture.
        weight = 1.0,
        /// The layers, by number from 0, or backwards from -1: blocks of a transformer, or the four stages of a ResNet. The early ones see edges
        /// and colours, the late ones what a thing is. By default the middle one: of twelve blocks 6, of the stages 2.
        layers,
        /// What of the recipe's `cutouts` is different for it.
        cutouts,
    }
}

fn default_layers(_: LayerKind, count: usize) -> Vec<usize> {
    vec![count / 2]
}

impl TermConfig for Config {
    fn build(&self, context: &mut TermContext) -> Result<Option<Box<dyn Term>>> {
        let (features, reference) = self
            .load(default_layers, context)
            .context("`terms.content` cannot be used")?;
        if self.weight.constant() == Some(0.0) {
            return Ok(None);
        }
        Ok(Some(Box::new(ContentTerm {
            features,
            reference,
            variances: vec![],
            weight: self.weight.clone(),
            sampler: context.sampler(self.cutouts.as_ref()),
        })))
    }

    fn check(&self, cutouts: &cutouts::Config, checker: &mut Checker) {
        self.check_settings(cutouts, checker);
    }
}

struct ContentTerm {
    features: Features,
    reference: Reference,
    /// The variance of the image's activations, by tower and layer.
    variances: Vec<Vec<f64>>,
    weight: Schedule,
    sampler: CutoutSampler,
}

/// The mean variance of the channels, and a little of their mean square, so that an even image has one.
fn variance(moments: &Moments) -> candle_core::Result<f64> {
    let (mean, covariance) = moments.mean_and_covariance()?;
    let variance = diagonal(&covariance)?.mean_all()?.to_dtype(DType::F64)?;
    let square = mean.sqr()?.mean_all()?.to_dtype(DType::F64)?;
    Ok(variance.to_scalar::<f64>()? + EVEN * square.to_scalar::<f64>()? + SMALLEST)
}

impl Term for ContentTerm {
    fn name(&self) -> &str {
        "content"
    }

    fn evaluate(&mut self, image: &Tensor, at: StepContext) -> Result<TermOutput> {
        let weight = self.weight.at(at.t());
        if weight == 0.0 {
            return Ok(TermOutput::new(0.0, image.zeros_like()?));
        }
        let (reference, is_new) = self.reference.fit(image)?;
        // for what both pictures take at the same time
        let memory = self.sampler.memory / 2;
        if is_new || self.variances.is_empty() {
            self.variances = (self.features)
                .moments(&reference, &self.sampler, TOWER)?
                .iter()
                .map(|layers| layers.iter().map(variance).collect())
                .collect::<candle_core::Result<_>>()?;
        }
        let features = &self.features;
        let (mut loss, mut grad, mut count) = (0.0, None, 0);
        for tower in 0..features.len() {
            let cutouts = features.draw(tower, image, &self.sampler, TOWER, at)?;
            // of both pictures
            count += 2 * cutouts.len();
            let share = weight / (features.layers() * cutouts.len()) as f64;
            let own =
                features.gradient(tower, image, &cutouts, memory, |views, weights, found| {
                    let wanted = features.activations(tower, &views.eval(&reference)?)?;
                    let mut grads = vec![];
                    for ((found, wanted), variance) in
                        found.iter().zip(&wanted).zip(&self.variances[tower])
                    {
                        let (_, positions, channels) = found.dims3()?;
                        let difference = (found - wanted)?;
                        let scale = share / (variance * (positions * channels) as f64);
                        let weighted = difference.broadcast_mul(weights)?;
                        let sum = (&weighted * difference)?.sum_all()?.to_dtype(DType::F64)?;
                        loss += scale * sum.to_scalar::<f64>()?;
                        grads.push((weighted * (2.0 * scale))?);
                    }
                    Ok(grads)
                })?;
            add_to(&mut grad, own)?;
        }
        Ok(TermOutput {
            cutouts: count,
            ..TermOutput::new(loss, grad.context("no tower was read")?)
        })
    }
}
