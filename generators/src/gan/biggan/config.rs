//! The `config.json` that lies beside a BigGAN's weights.

use std::path::Path;

use serde::Deserialize;
use weights::checkpoint::Checkpoint;

use super::NAME;
use crate::gan::GanError;

/// The largest file that is read.
const MOST_BYTES: u64 = 1 << 20;

/// What the file says that tensors do not; their shapes say the rest.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct BigGanConfig {
    /// For each block whether it doubles the sides, and input and output channels as multiples of the width.
    #[serde(default)]
    pub layers: Option<Vec<(bool, usize, usize)>>,
    /// What is added to variances.
    #[serde(default)]
    pub eps: Option<f64>,
    /// Side of the pictures.
    #[serde(default)]
    pub output_dim: Option<usize>,
}

impl BigGanConfig {
    /// That beside a checkpoint; without one nothing is known but the tensors.
    pub fn beside(checkpoint: &Checkpoint) -> Result<Self, GanError> {
        let file = Path::new(checkpoint.origin()).with_file_name("config.json");
        let Ok(metadata) = std::fs::metadata(&file) else {
            return Ok(Self::default());
        };
        let fault = |what: String| GanError::Unsupported {
            origin: file.display().to_string(),
            architecture: NAME,
            what,
        };
        if metadata.len() > MOST_BYTES {
            return Err(fault(format!(
                "its configuration has {} bytes",
                metadata.len()
            )));
        }
        let text = std::fs::read_to_string(&file);
        let text = text.map_err(|error| fault(format!("it cannot be read: {error}")))?;
        serde_json::from_str(&text).map_err(|error| fault(format!("it cannot be read: {error}")))
    }
}
