//! Finding the model in a checkpoint, and checking that all of it is used.
//!
//! Training programs prefix the names of a model's tensors (`module.`, `_orig_mod.`, `model.`, `clip.`), keep averages of them, and save
//! optimizers, losses and heads in the same file. So the model is found by a tensor that it must have, whatever its prefix.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use super::{Checkpoint, CheckpointError};

/// How many names a message lists.
const NAMED: usize = 4;

/// The last parts of names of tensors that do not change the result, wherever they are: position ids, counters, a codebook's statistics for
/// training, and the mark of files whose 8-bit weights have scales beside them.
const HARMLESS_ANYWHERE: [&str; 8] = [
    "position_ids",
    "num_batches_tracked",
    "n_averaged",
    "cluster_size",
    "cluster_size_ema",
    "embed_avg",
    "initted",
    "scaled_fp8",
];

/// Full names of tensors that do not change the result: the scale of a loss, masks that the architecture implies, sizes. Deeper in a network
/// the same names mean other things.
const HARMLESS: [&str; 6] = [
    "logit_scale",
    "attn_mask",
    "text.attn_mask",
    "input_resolution",
    "context_length",
    "vocab_size",
];

/// Parts of names of what only training needs: losses, optimizers, schedules.
const TRAINING: [&str; 16] = [
    "loss",
    "discriminator",
    "perceptual_loss",
    "optimizer",
    "optimizers",
    "optimizer_state",
    "optimizer_states",
    "optimizer_state_dict",
    "optim",
    "scheduler",
    "lr_scheduler",
    "lr_schedulers",
    "scaler",
    "callbacks",
    "loops",
    "rng_state",
];

/// Which unused tensors are an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of the model's.
    All,
    /// Those of the parts that are used: if `visual.conv1.weight` is read, `visual.other` is an error and `head.weight` a note.
    Parts,
}

impl Checkpoint {
    /// Looks for the model that has a tensor of one of these names, under any prefix. From then on names are relative to that prefix. Returns
    /// whether there is such a model; if not, names stay as they are. Weights are preferred to their averages (EMA).
    ///
    /// # Errors
    /// [`CheckpointError::Ambiguous`] if there are several.
    pub fn locate(&mut self, marks: &[&str]) -> Result<bool, CheckpointError> {
        let found: BTreeSet<&str> = (self.entries.keys())
            .flat_map(|key| marks.iter().filter_map(|mark| key.strip_suffix(mark)))
            .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
            .filter(|prefix| !is_training(prefix))
            .collect();
        let mut plain = found.iter().filter(|prefix| !is_average(prefix)).peekable();
        let candidates: Vec<&str> = match plain.peek() {
            Some(_) => plain.copied().collect(),
            None => found.iter().copied().collect(),
        };
        match candidates.as_slice() {
            [] => Ok(false),
            [prefix] => {
                self.prefix = (*prefix).to_owned();
                Ok(true)
            }
            several => {
                let names: Vec<String> = (several.iter())
                    .map(|prefix| match *prefix {
                        "" => "one without a prefix".to_owned(),
                        prefix => format!("`{prefix}*`"),
                    })
                    .collect();
                Err(CheckpointError::Ambiguous(
                    self.origin.clone(),
                    names.join(", "),
                ))
            }
        }
    }

    /// Checks, after a model has been loaded, which tensors were not read. Tensors that do not change the result are ignored, and so are those
    /// whose names begin with one of `left`: parts that the loader leaves out on purpose. Returns notes for the user, each a sentence, about
    /// unused tensors that are not the model's.
    ///
    /// # Errors
    /// [`CheckpointError::Unused`] if tensors of the model were not read.
    pub fn finish(&self, scope: Scope, left: &[&str]) -> Result<Vec<String>, CheckpointError> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let parts: BTreeSet<&str> = (used.iter())
            .filter_map(|key| key.strip_prefix(&self.prefix).map(first))
            .collect();
        let unreadable = self.unreadable.iter().filter(|(_, value)| value.tensor);
        let all = self.entries.keys().chain(unreadable.map(|(key, _)| key));
        let (mut unused, mut outside, mut averages) = (vec![], vec![], 0);
        for key in all.filter(|key| !used.contains(*key)) {
            let name = key.strip_prefix(&self.prefix);
            let passed = match name {
                Some(name) => is_harmless(name) || left.iter().any(|left| name.starts_with(left)),
                None => is_harmless(key) || is_training(key),
            };
            if passed {
                continue;
            }
            // an average below the model's prefix is one of the whole model
            if is_average(name.unwrap_or(key)) {
                averages += 1;
            } else if name.is_some_and(|name| scope == Scope::All || parts.contains(first(name))) {
                unused.push(key.as_str());
            } else {
                outside.push(key.as_str());
            }
        }
        if !unused.is_empty() {
            return Err(CheckpointError::Unused {
                origin: self.origin.clone(),
                count: unused.len(),
                names: listed(&unused),
            });
        }
        let mut notes = vec![];
        if is_average(&self.prefix) {
            notes.push(format!(
                "{} has only averages of the weights (EMA), under `{}*`; they are used",
                self.origin, self.prefix
            ));
        }
        if averages > 0 && !is_average(&self.prefix) {
            notes.push(format!(
                "{} has averages (EMA) as well as the weights; the weights are used. To use the averages, save them in a file of their own",
                self.origin
            ));
        }
        if !outside.is_empty() {
            let within = match self.prefix.as_str() {
                "" => String::new(),
                prefix => format!(" outside the model, which is under `{prefix}*`"),
            };
            notes.push(format!(
                "{} has {}{within}; {} not used",
                self.origin,
                listed(&outside),
                if outside.len() == 1 {
                    "it is"
                } else {
                    "they are"
                }
            ));
        }
        Ok(notes)
    }
}

/// "1 tensor (`a`)", "9 tensors (`a`, `b`, `c`, `d` and 5 more)".
fn listed(names: &[&str]) -> String {
    let count = names.len();
    let some: Vec<String> = (names.iter().take(NAMED))
        .map(|name| format!("`{name}`"))
        .collect();
    let more = match count.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} tensor{plural} ({}{more})", some.join(", "))
}

/// The name up to its first dot.
fn first(name: &str) -> &str {
    name.split('.').next().unwrap_or_default()
}

/// Whether a name belongs to what only training needs.
fn is_training(name: &str) -> bool {
    name.split('.').any(|part| TRAINING.contains(&part))
}

/// Whether a tensor of that name, relative to the model, does not change the result.
fn is_harmless(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    HARMLESS.contains(&name) || HARMLESS_ANYWHERE.contains(&last) || TRAINING.contains(&first(name))
}

/// Whether a name belongs to a moving average: `ema`, `model_ema`, `ema_state_dict`, `params_ema` in front of the tensor's own name.
fn is_average(name: &str) -> bool {
    let mut parts = name.split('.');
    // not the tensor's own name
    parts.next_back();
    parts.any(|part| part.split('_').any(|word| word == "ema"))
}
