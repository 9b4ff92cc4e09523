//! Terms that know nothing of prompts: what is asked of any picture.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::{DType, Tensor, Var};

use super::{Term, Verdict};
use crate::config::TermOptions;
use phantasia_core::Schedule;
use phantasia_core::StepContext;

/// Which property a term is about.
#[derive(Clone, Debug)]
enum Kind {
    TotalVariation,
    Range,
    Saturation,
    Mean { wanted: Schedule },
    Contrast { wanted: Schedule },
}

/// A term of the picture's own properties, with a weight.
#[derive(Clone, Debug)]
pub struct Regular {
    kind: Kind,
    weight: Schedule,
}

impl Regular {
    /// The terms that a recipe asks for; those of weight 0 are left out.
    pub fn of(options: &TermOptions) -> Vec<Self> {
        let weighted = [
            (Kind::TotalVariation, &options.total_variation),
            (Kind::Range, &options.range),
            (Kind::Saturation, &options.saturation),
        ];
        let mut terms: Vec<Self> = weighted
            .into_iter()
            .filter(|(_, weight)| weight.constant() != Some(0.0))
            .map(|(kind, weight)| Self {
                kind,
                weight: weight.clone(),
            })
            .collect();
        // these have a wanted value instead of a weight; it is held to firmly
        let firm = Schedule::from(100.0);
        if let Some(wanted) = options.mean.clone() {
            terms.push(Self {
                kind: Kind::Mean { wanted },
                weight: firm.clone(),
            });
        }
        if let Some(wanted) = options.contrast.clone() {
            terms.push(Self {
                kind: Kind::Contrast { wanted },
                weight: firm,
            });
        }
        terms
    }

    /// The unweighted loss of an image `[1, 3, height, width]`, by candle's own operations.
    fn loss(&self, x: &Tensor, at: StepContext) -> candle_core::Result<Tensor> {
        let (_, _, height, width) = x.dims4()?;
        match &self.kind {
            Kind::TotalVariation => {
                // 0, with a gradient of 0: a single pixel has no neighbours
                let mut sum = (x * x.zeros_like()?)?.sum_all()?;
                if height > 1 {
                    let d = (x.narrow(2, 1, height - 1)? - x.narrow(2, 0, height - 1)?)?;
                    sum = (sum + d.abs()?.mean_all()?)?;
                }
                if width > 1 {
                    let d = (x.narrow(3, 1, width - 1)? - x.narrow(3, 0, width - 1)?)?;
                    sum = (sum + d.abs()?.mean_all()?)?;
                }
                Ok(sum)
            }
            // relu(x - 1) and relu(-x) rather than x - clamp(x): candle's clamp has a gradient at neither
            Kind::Range => {
                (x - 1.0)?.relu()?.sqr()?.mean_all()? + x.neg()?.relu()?.sqr()?.mean_all()?
            }
            Kind::Saturation => x.broadcast_sub(&x.mean_keepdim(1)?)?.abs()?.mean_all(),
            Kind::Mean { wanted } => (x.mean_all()? - wanted.at(at.t()))?.sqr(),
            Kind::Contrast { wanted } => {
                // each channel about its own mean: an even colour has no contrast, however far its channels lie apart
                let variance = x
                    .broadcast_sub(&x.mean_keepdim((2, 3))?)?
                    .sqr()?
                    .mean_all()?;
                // the root has no gradient at 0
                ((variance + 1e-8)?.sqrt()? - wanted.at(at.t()))?.sqr()
            }
        }
    }
}

impl Term for Regular {
    fn name(&self) -> &str {
        match self.kind {
            Kind::TotalVariation => "total_variation",
            Kind::Range => "range",
            Kind::Saturation => "saturation",
            Kind::Mean { .. } => "mean",
            Kind::Contrast { .. } => "contrast",
        }
    }

    fn judge(&mut self, image: &Tensor, at: StepContext) -> Result<Verdict> {
        let x = Var::from_tensor(image)?;
        let loss = (self.loss(x.as_tensor(), at)? * self.weight.at(at.t()))?;
        let grads = loss.backward()?;
        let grad = grads
            .get(&x)
            .with_context(|| format!("the term `{}` gave no gradient", self.name()))?
            .clone();
        Ok(Verdict {
            loss: loss.to_dtype(DType::F64)?.to_scalar::<f64>()?,
            grad,
            similarity: BTreeMap::new(),
            parts: BTreeMap::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;
    use candle_core::Device;

    /// An image of f64, so that differences are exact enough, with values on both sides of 0 and 1.
    fn image() -> Tensor {
        let values: Vec<f64> = (0..3 * 4 * 5)
            .map(|i| 0.5 + 0.9 * (1.7 * f64::from(i)).sin())
            .collect();
        Tensor::from_vec(values, (1, 3, 4, 5), &Device::Cpu).expect("an image")
    }

    #[test]
    fn gradients_match_finite_differences() -> Result<()> {
        let at = StepContext::new(0, 1);
        let half = Some(Schedule::from(0.5));
        let options = TermOptions {
            total_variation: Schedule::from(1.0),
            range: Schedule::from(2.0),
            saturation: Schedule::from(3.0),
            mean: half.clone(),
            contrast: half,
            aesthetic: None,
        };
        let terms = Regular::of(&options);
        assert_eq!(terms.len(), 5);
        for mut term in terms {
            let x = image();
            let grad = term.judge(&x, at)?.grad.flatten_all()?.to_vec1::<f64>()?;
            for i in 0..grad.len() {
                let mut loss_at = |h: f64| -> Result<f64> {
                    let mut values = x.flatten_all()?.to_vec1::<f64>()?;
                    values[i] += h;
                    let moved = Tensor::from_vec(values, x.shape(), &Device::Cpu)?;
                    Ok(term.judge(&moved, at)?.loss)
                };
                let slope = (loss_at(1e-6)? - loss_at(-1e-6)?) / 2e-6;
                assert!(
                    (slope - grad[i]).abs() < 1e-5 * slope.abs().max(1.0),
                    "{} {i}: {slope} {}",
                    term.name(),
                    grad[i]
                );
            }
        }
        Ok(())
    }

    #[test]
    fn an_even_colour_has_no_contrast_however_far_its_channels_lie_apart() -> Result<()> {
        let options = TermOptions {
            contrast: Some(Schedule::from(0.25)),
            ..TermOptions::default()
        };
        let judged = |image: Tensor| -> Result<f64> {
            let [term] = &mut Regular::of(&options)[..] else {
                bail!("one term was asked for");
            };
            Ok(term.judge(&image, StepContext::new(0, 1))?.loss)
        };
        let blue = Tensor::new(&[0.3, 0.6, 1.0], &Device::Cpu)?.reshape((1, 3, 1, 1))?;
        let even = judged(blue.broadcast_as((1, 3, 4, 4))?.contiguous()?)?;
        assert!((even - 100.0 * 0.25 * 0.25).abs() < 0.01, "{even}");
        // two halves that lie 0.5 apart have a standard deviation of 0.25 in each channel
        let halves = Tensor::cat(
            &[
                blue.broadcast_as((1, 3, 4, 2))?,
                (blue - 0.5)?.broadcast_as((1, 3, 4, 2))?,
            ],
            3,
        )?;
        assert!(judged(halves)? < 1e-6);
        Ok(())
    }

    #[test]
    fn a_single_pixel_has_no_variation() -> Result<()> {
        let options = TermOptions {
            total_variation: Schedule::from(1.0),
            ..TermOptions::default()
        };
        let pixel = Tensor::ones((1, 3, 1, 1), DType::F32, &Device::Cpu)?;
        for mut term in Regular::of(&options) {
            assert_eq!(term.judge(&pixel, StepContext::new(0, 1))?.loss, 0.0);
        }
        Ok(())
    }
}
