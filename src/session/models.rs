//! Where generators find models, and how the texts of diffusion models are encoded.

use std::path::PathBuf;

use anyhow::Result;
use candle_core::{Device, Tensor};
use generators::ModelSource;
use generators::diffusion::Pipeline;

use crate::clip::TextEncoder;
use crate::models::{ModelKind, resolve_path};

/// The models on this machine.
pub(super) struct LocalModels;

impl ModelSource for LocalModels {
    fn diffusion(&self, name: &str) -> Result<PathBuf> {
        Ok(resolve_path(name, ModelKind::Diffusion)?)
    }

    fn autoencoder(&self, name: &str) -> Result<PathBuf> {
        Ok(resolve_path(name, ModelKind::Latent)?)
    }

    fn gan(&self, name: &str) -> Result<PathBuf> {
        Ok(resolve_path(name, ModelKind::Gan)?)
    }

    fn encode_texts(
        &self,
        pipeline: &Pipeline,
        texts: &[&str],
        device: &Device,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<Tensor>> {
        let encoder = match pipeline {
            Pipeline::Embedded => TextEncoder::embedded(device)?,
            Pipeline::Folder(folder) => TextEncoder::from_pipeline(folder, device)?,
        };
        warnings.extend_from_slice(encoder.warnings());
        let encode = |text: &&str| {
            let encoded = encoder.encode(text)?;
            let unread = &encoded.unread;
            warnings.extend(unread.warnings("the diffusion model", "its prompt"));
            Ok(encoded.hidden)
        };
        texts.iter().map(encode).collect()
    }
}
