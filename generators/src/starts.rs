//! The best of several random starts, as FuseDream (Liu et al. 2021, arXiv 2112.01573) and the notebooks for StyleGAN3 with CLIP choose one.

use anyhow::Context as _;
use candle_core::Tensor;
use phantasia_core::check::Checker;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BuildContext, Generator};

/// So many random starts are made, and the one of the least loss is kept.
///
/// Each costs about a third of a step. The first is the one that there is without a choice. A picture to start from leaves nothing to
/// choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Starts(#[schemars(range(min = 1, max = 1024))] pub usize);

/// One.
impl Default for Starts {
    fn default() -> Self {
        Self(1)
    }
}

impl Starts {
    /// Makes the starts, and returns the one of the least loss. `make` makes one from the context's seed. With `from_picture` the start is not
    /// random: there is nothing to choose, and a warning says so.
    ///
    /// # Errors
    /// When a start cannot be made, or there is nothing to ask for its loss.
    pub(crate) fn best<G: Generator>(
        self,
        from_picture: bool,
        context: &mut BuildContext<'_>,
        make: impl FnMut(&mut BuildContext<'_>) -> anyhow::Result<G>,
    ) -> anyhow::Result<G> {
        self.best_by(from_picture, context, make, G::picture)
    }

    /// Like [`Starts::best`], but compares the losses of the pictures that `foresee` returns, for generators whose start shows nothing of what will
    /// become of it, such as noise.
    pub(crate) fn best_by<G>(
        self,
        from_picture: bool,
        context: &mut BuildContext<'_>,
        mut make: impl FnMut(&mut BuildContext<'_>) -> anyhow::Result<G>,
        foresee: impl Fn(&mut G) -> candle_core::Result<Tensor>,
    ) -> anyhow::Result<G> {
        let Self(starts) = self;
        if starts <= 1 || context.is_restored {
            return make(context);
        }
        if from_picture {
            let warning =
                format!("`starts: {starts}` chooses nothing here: the start is a picture");
            context.warnings.push(warning);
            return make(context);
        }
        let (seed, warnings) = (context.seed, context.warnings.len());
        let mut losses = Vec::with_capacity(starts);
        for index in 0..starts {
            context.seed = seed_of(seed, index);
            let picture = foresee(&mut make(context)?)?.detach();
            losses.push(loss(&picture, context)?);
            // the chosen one gives them once more
            context.warnings.truncate(warnings);
        }
        let finite = || (losses.iter().enumerate()).filter(|(_, loss)| loss.is_finite());
        let (chosen, least) = (finite().min_by(|a, b| a.1.total_cmp(b.1)))
            .context("none of the starts has a loss that is a number: the weights of the model, or of a CLIP, seem to be damaged; fetch them again")?;
        let greatest = finite().map(|(_, loss)| *loss).fold(*least, f64::max);
        context.notes.push(format!(
            "start {} of {starts} is taken: its loss is {least:.4}, and those of the others go up to {greatest:.4}",
            chosen + 1
        ));
        context.seed = seed_of(seed, chosen);
        let made = make(context);
        context.seed = seed;
        made
    }

    /// Refuses a choice among equal starts. `is_random` is whether they differ, and `how` says what makes them.
    pub(crate) fn check(self, is_random: bool, how: &str, checker: &mut Checker) {
        if self.0 > 1 && !is_random {
            let message = format!("all starts would be the same: {how}, or write `starts: 1`");
            checker.invalid("starts", message);
        }
    }
}

fn loss(picture: &Tensor, context: &mut BuildContext<'_>) -> anyhow::Result<f64> {
    let guide = (context.guide.as_deref_mut())
        .context("`starts` above 1 needs a session, which knows the losses of pictures")?;
    let losses = guide.losses(std::slice::from_ref(picture))?;
    losses.first().copied().context("a picture has no loss")
}

/// The seed of one of the starts.
pub(crate) fn seed_of(seed: u64, index: usize) -> u64 {
    if index == 0 {
        return seed;
    }
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(index as u64).to_le_bytes());
    ChaCha8Rng::from_seed(key).next_u64()
}

#[cfg(test)]
mod tests;
