//! Where in a checkpoint the model lies, and whether all of it was used.
//!
//! Programs that train put names in front of a model's own (`module.`, `_orig_mod.`, `model.`, `clip.`), keep averages of it, and save
//! optimizers, losses and heads beside it. So the model is found by a tensor that it cannot do without, whatever stands in front of that.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use super::{Checkpoint, CheckpointError};

/// How many names a message lists.
const NAMED: usize = 4;

/// Tensors whose names end in these change nothing that is computed here, wherever they stand: numbers of positions, counters, and what
/// training keeps of a codebook.
const HARMLESS_ANYWHERE: [&str; 7] = [
    "position_ids",
    "num_batches_tracked",
    "n_averaged",
    "cluster_size",
    "cluster_size_ema",
    "embed_avg",
    "initted",
];

/// Tensors of these whole names change nothing: the factor of a loss, masks that follow from the network's kind, sizes. Deeper
/// in a network the same words name other things.
const HARMLESS: [&str; 6] = [
    "logit_scale",
    "attn_mask",
    "text.attn_mask",
    "input_resolution",
    "context_length",
    "vocab_size",
];

/// Under these names lies what training needs beside the model.
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
    /// Those of the parts that are used: with `visual.conv1.weight` asked for, `visual.other` is an error, and `head.weight` a note.
    Parts,
}

impl Checkpoint {
    /// Looks for the model that has a tensor of one of these names. From then on names are relative to what stands in front of it there.
    /// Returns whether there is one; else names stay as they are. Weights are preferred to averages (EMA) of them.
    ///
    /// # Errors
    /// Where there are several.
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
                Err(CheckpointError::Ambiguous {
                    origin: self.origin.clone(),
                    prefixes: names.join(", "),
                })
            }
        }
    }

    /// Says what was not asked for, when all that is needed was. Tensors that are known to change nothing are passed over, and so are
    /// those whose names begin with one of `left`: parts that the loader leaves on purpose. What lies beside the model is told in the
    /// notes that are returned, each a sentence.
    ///
    /// # Errors
    /// Where tensors of the model were not asked for: what was loaded is not all of it.
    pub fn finish(&self, scope: Scope, left: &[&str]) -> Result<Vec<String>, CheckpointError> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let parts: BTreeSet<&str> = (used.iter())
            .filter_map(|key| key.strip_prefix(&self.prefix).map(first))
            .collect();
        let odd = self.odd.iter().filter(|(_, odd)| odd.tensor);
        let all = self.entries.keys().chain(odd.map(|(key, _)| key));
        let (mut unused, mut beside, mut averages) = (vec![], vec![], 0);
        for key in all.filter(|key| !used.contains(*key)) {
            let name = key.strip_prefix(&self.prefix);
            let passed = match name {
                Some(name) => is_harmless(name) || left.iter().any(|left| name.starts_with(left)),
                None => is_harmless(key) || is_training(key),
            };
            if passed {
                continue;
            }
            // an average within the model's own names is one of the whole of it
            if is_average(name.unwrap_or(key)) {
                averages += 1;
            } else if name.is_some_and(|name| scope == Scope::All || parts.contains(first(name))) {
                unused.push(key.as_str());
            } else {
                beside.push(key.as_str());
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
                "{} holds no weights but averages of them (EMA), under `{}*`: those are used",
                self.origin, self.prefix
            ));
        }
        if averages > 0 && !is_average(&self.prefix) {
            notes.push(format!(
                "{} holds averages (EMA) beside the weights: the weights are used; for the averages, save those alone",
                self.origin
            ));
        }
        if !beside.is_empty() {
            let place = match self.prefix.as_str() {
                "" => String::new(),
                prefix => format!(" beside the model, which lies under `{prefix}*`"),
            };
            notes.push(format!(
                "{} holds {}{place}: nothing here uses {}",
                self.origin,
                listed(&beside),
                if beside.len() == 1 { "it" } else { "them" }
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

/// Whether a name leads through what training keeps.
fn is_training(name: &str) -> bool {
    name.split('.').any(|part| TRAINING.contains(&part))
}

/// Whether a tensor of that name within the model changes nothing.
fn is_harmless(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    HARMLESS.contains(&name) || HARMLESS_ANYWHERE.contains(&last) || TRAINING.contains(&first(name))
}

/// Whether one of the parts of a name says that it is of a moving average: `ema`, `model_ema`, `ema_state_dict`, `params_ema`.
fn is_average(name: &str) -> bool {
    let mut parts = name.split('.');
    // the tensor's own name says nothing of the model
    parts.next_back();
    parts.any(|part| part.split('_').any(|word| word == "ema"))
}
