//! Whether a CLIP fits into memory, before its weights are read.

use phantasia_core::memory;
use weights::checkpoint::Checkpoint;

use crate::dtype::DTypePolicy;
use crate::error::ClipError;
use crate::model::LEFT;

/// What a step of painting, or a batch of pictures, needs at least beside the weights: the default bound of a micro-batch of cutouts.
const WORK: u64 = 256 << 20;

/// Ends of the names of token tables, of which a text's rows are read alone.
const TABLES: &[&str] = &[
    "token_embedding.weight",
    "word_embeddings.weight",
    "embed_tokens.weight",
    "shared.weight",
];

/// Refuses a CLIP that cannot fit into the processor's memory. Where the system does not tell how much is free, nothing is refused.
///
/// # Errors
/// [`ClipError::Memory`].
pub fn check(name: &str, checkpoint: &Checkpoint, dtypes: DTypePolicy) -> Result<(), ClipError> {
    let tensors = (checkpoint.keys()).filter_map(|key| Some((key, checkpoint.shape(key)?)));
    let needed = needed(tensors, dtypes.compute.size_in_bytes() as u64);
    // what is small is not asked about: what the system tells takes time to read
    match memory::free().filter(|_| needed > 2 * WORK) {
        Some(free) => fits(name, needed, free),
        None => Ok(()),
    }
}

/// The bytes that these tensors need once they are read, with `size` bytes for each number, and the work with them.
fn needed<'t>(tensors: impl Iterator<Item = (&'t str, &'t [usize])>, size: u64) -> u64 {
    let held = tensors.filter(|(key, _)| {
        let is_left = LEFT.iter().any(|start| key.starts_with(start));
        !is_left && !TABLES.iter().any(|end| key.ends_with(end))
    });
    let numbers = held.map(|(_, shape)| {
        let dims = shape.iter().map(|dim| *dim as u64);
        dims.fold(1, u64::saturating_mul)
    });
    let numbers = numbers.fold(0, u64::saturating_add);
    numbers.saturating_mul(size).saturating_add(WORK)
}

fn fits(name: &str, needed: u64, free: u64) -> Result<(), ClipError> {
    if needed <= free {
        return Ok(());
    }
    let name = name.to_owned();
    Err(ClipError::Memory { name, needed, free })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_counts_and_what_stays_in_the_file_does_not() {
        let tensors: [(&str, &[usize]); 5] = [
            ("visual.proj", &[1000, 1000]),
            ("logit_scale", &[]),
            ("token_embedding.weight", &[1_000_000, 1024]),
            (
                "text.transformer.embeddings.word_embeddings.weight",
                &[250_002, 768],
            ),
            ("text_decoder.resblocks.0.mlp.c_fc.weight", &[3072, 768]),
        ];
        assert_eq!(needed(tensors.into_iter(), 4), 4_000_004 + WORK);
        let absurd: [(&str, &[usize]); 1] = [("visual.proj", &[usize::MAX, usize::MAX])];
        assert_eq!(needed(absurd.into_iter(), 4), u64::MAX);
    }

    #[test]
    fn what_does_not_fit_is_told_with_what_to_do() {
        assert!(fits("ViT-B-32/openai", 900 << 20, 900 << 20).is_ok());
        let error = fits("ViT-bigG-14", 10_300_000_000, 4_260_000_000).expect_err("too large");
        assert_eq!(
            error.to_string(),
            "`ViT-bigG-14` does not fit into memory: it needs about 10.3 GB, and 4.3 GB are free; take a smaller CLIP (`phantasia models list` tells their sizes), or end other programs"
        );
    }
}
