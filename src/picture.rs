//! Reading pictures.
use std::path::Path;
use candle_core::{Device, Tensor};
/// A picture as `[1, 3, height, width]` in 0..=1.
pub fn load_tensor(_: &Path, _: &Device) -> anyhow::Result<Tensor> { anyhow::bail!("not yet") }
