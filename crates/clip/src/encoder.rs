//! The text encoder of Stable Diffusion, and of the embedded diffusion model: CLIP's text transformer, whose output is the state of every token instead of an embedding.

use std::path::Path;

use candle_core::{Device, Tensor};
use weights::checkpoint::{Branch, Checkpoint, Scope};
use weights::models::{EMBEDDED, ModelKind, file_in};

use crate::config::{Layout, TextConfig};
use crate::embedded;
use crate::error::ClipError;
use crate::files::{TextFile, TokenizerFiles, tokenizer_setting};
use crate::text::TextStack;
use crate::tokenizer::{END, Tokenizer, Unread};

const WANTED: &str =
    "config.json and model.safetensors in text_encoder, and vocab.json and merges.txt in tokenizer";
const PREFIX: &str = "text_model";
/// A tensor that every encoder has.
const MARK: &str = "embeddings.token_embedding.weight";
/// The parts of a whole CLIP other than its text transformer.
const LEFT: &[&str] = &["vision_model.", "visual_projection.", "text_projection."];

/// A text as the conditioning of a diffusion model.
#[derive(Clone, Debug)]
pub struct EncodedText {
    /// The state of each token after the last normalisation: `[1, tokens, width]`, padded to the longest text.
    pub hidden: Tensor,
    /// The parts of the text that the tokenizer changes, drops or cuts off.
    pub unread: Unread,
}

/// The text encoder of a diffusion model.
pub struct TextEncoder {
    stack: TextStack,
    tokenizer: Tokenizer,
    pad: u32,
    context: usize,
    name: String,
    warnings: Vec<String>,
}

impl TextEncoder {
    /// Reads `text_encoder/` and `tokenizer/` of a pipeline's folder.
    ///
    /// # Errors
    /// If a file is missing, cannot be read or does not fit the others.
    pub fn from_pipeline(folder: &Path, device: &Device) -> Result<Self, ClipError> {
        let name = folder.display().to_string();
        let place = folder.join("text_encoder");
        let missing = |missing| ClipError::NoFile {
            folder: name.clone(),
            missing,
            wanted: WANTED,
        };
        let config = TextFile::in_folder(&place, "config.json")?
            .ok_or_else(|| missing("text_encoder/config.json"))?;
        let weights = file_in(&place, &ModelKind::Clip.weights().names)
            .ok_or_else(|| missing("text_encoder/model.safetensors"))?;
        let words = folder.join("tokenizer");
        let files =
            TokenizerFiles::in_folder(&words).ok_or_else(|| missing("tokenizer/vocab.json"))?;

        let config = TextConfig::hugging_face(&config.text).map_err(|what| config.error(what))?;
        let mut checkpoint = Checkpoint::open(&weights)?;
        // transformers 5 leaves the prefix out
        let prefixed = checkpoint.locate(&[&format!("{PREFIX}.{MARK}")])?;
        let prefix = if prefixed { PREFIX } else { "" };
        if !prefixed {
            checkpoint.locate(&[MARK])?;
        }
        let branch = Branch::root(&checkpoint, device);
        let stack = TextStack::read(branch, Layout::HuggingFace, prefix, &config, device)?;
        let warnings = checkpoint.finish(Scope::All, LEFT)?;

        let failed = |what| ClipError::tokenizer(&name, what);
        let tokenizer =
            Tokenizer::read(&files, config.context, Layout::HuggingFace).map_err(failed)?;
        let padding = tokenizer_setting(&words, "pad_token")?.unwrap_or_else(|| END.to_owned());
        let pad = tokenizer
            .id(&padding)
            .ok_or_else(|| failed(format!("it has no {padding}, which texts are padded with")))?;
        Ok(Self {
            stack,
            tokenizer,
            pad,
            context: config.context,
            name,
            warnings,
        })
    }

    /// The text tower of the embedded CLIP, which encodes the texts of the embedded diffusion model.
    ///
    /// # Errors
    /// Only if the program is damaged or the device fails.
    pub fn embedded(device: &Device) -> Result<Self, ClipError> {
        let name = EMBEDDED.to_owned();
        let tokenizer = Tokenizer::embedded()?;
        let pad = (tokenizer.id(END))
            .ok_or_else(|| ClipError::tokenizer(&name, format!("it has no {END}")))?;
        let config = embedded::config()?.text;
        let checkpoint = embedded::checkpoint()?;
        let branch = Branch::root(&checkpoint, device);
        Ok(Self {
            stack: TextStack::read(branch, Layout::HuggingFace, PREFIX, &config, device)?,
            tokenizer,
            pad,
            context: config.context,
            name,
            warnings: vec![],
        })
    }

    /// Sentences for the user about its weights, such as unused tensors.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The states of a text's tokens, padded as in the training of Stable Diffusion.
    pub fn encode(&self, text: &str) -> Result<EncodedText, ClipError> {
        let mut tokens = self.tokenizer.read_text(&self.name, text)?;
        tokens.ids.resize(self.context, self.pad);
        Ok(EncodedText {
            hidden: self.stack.hidden(&tokens.ids)?,
            unread: tokens.unread,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../generators/tests/fixtures/stable")
            .join(name)
    }

    fn encoder(folder: &Path) -> Result<TextEncoder, ClipError> {
        TextEncoder::from_pipeline(folder, &Device::Cpu)
    }

    fn agrees(name: &str) {
        let path = fixture(&format!("{name}.safetensors"));
        let reference = candle_core::safetensors::load(path, &Device::Cpu).expect("the fixture");
        let encoder = encoder(&fixture(name)).expect("an encoder");
        let text = encoder.encode("a  Red ball").expect("a text");
        assert_eq!(text.unread, Unread::default());
        close(&text.hidden, &reference["text.hidden"], name);
    }

    fn close(found: &Tensor, expected: &Tensor, name: &str) {
        assert_eq!(found.dims(), expected.dims());
        let largest = |x: &Tensor| x.abs()?.max_all()?.to_scalar::<f32>();
        let error = (found - expected)
            .and_then(|difference| Ok(largest(&difference)? / largest(expected)?))
            .expect("a number");
        println!("{name}: {error:e}");
        assert!(error < 1e-4, "{name} is off by {error:e}");
    }

    #[test]
    fn the_embedded_encoder_agrees_with_transformers() {
        let path = fixture("../embedded-diffusion.safetensors");
        let reference = candle_core::safetensors::load(path, &Device::Cpu).expect("the fixture");
        let encoder = TextEncoder::embedded(&Device::Cpu).expect("an encoder");
        for (text, name) in [
            ("a red apple on a blue background", "hidden"),
            ("", "nothing"),
        ] {
            let found = encoder.encode(text).expect("a text").hidden;
            close(&found, &reference[name], name);
        }
    }

    #[test]
    fn an_encoder_like_stable_diffusion_1_agrees_with_transformers() {
        agrees("sd1");
    }

    #[test]
    fn an_encoder_like_stable_diffusion_2_agrees_with_transformers() {
        agrees("sd2");
    }

    /// A copy of a fixture's pipeline whose tensors have other names, and one more tensor.
    fn changed(rename: impl Fn(&str) -> String, more: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for part in ["text_encoder", "tokenizer"] {
            std::fs::create_dir(folder.path().join(part)).expect("a folder");
            for file in std::fs::read_dir(fixture("sd1").join(part)).expect("a folder") {
                let file = file.expect("a file").path();
                let name = file.file_name().expect("a name");
                std::fs::copy(&file, folder.path().join(part).join(name)).expect("a copy");
            }
        }
        let path = folder.path().join("text_encoder/model.safetensors");
        let tensors = candle_core::safetensors::load(&path, &Device::Cpu).expect("weights");
        let mut tensors: std::collections::HashMap<String, Tensor> = (tensors.into_iter())
            .map(|(key, tensor)| (rename(&key), tensor))
            .collect();
        let one = Tensor::new(&[1f32], &Device::Cpu).expect("a tensor");
        tensors.insert(more.to_owned(), one);
        candle_core::safetensors::save(&tensors, &path).expect("weights");
        folder
    }

    #[test]
    fn a_wrapped_encoder_is_the_same_and_leaves_the_rest_of_a_clip() {
        let more = "model.vision_model.post_layernorm.weight";
        let folder = changed(|key| format!("model.{key}"), more);
        let found = encoder(folder.path()).expect("an encoder");
        assert_eq!(found.warnings(), [""; 0]);
        let [found, expected] =
            [found, encoder(&fixture("sd1")).expect("an encoder")].map(|encoder| {
                let hidden = encoder.encode("a red ball").expect("a text").hidden;
                hidden
                    .flatten_all()
                    .and_then(|x| x.to_vec1::<f32>())
                    .expect("numbers")
            });
        assert_eq!(found, expected);
    }

    #[test]
    fn tensors_that_the_encoder_has_no_place_for_are_named() {
        let more = "text_model.encoder.layers.0.self_attn.k_norm.weight";
        let folder = changed(str::to_owned, more);
        let error = encoder(folder.path()).err().expect("refused").to_string();
        assert!(error.contains(&format!("`{more}`")), "{error}");
    }

    #[test]
    fn a_long_text_is_cut_and_its_end_told() {
        let encoder = encoder(&fixture("sd1")).expect("an encoder");
        let text = encoder.encode(&"red ball ".repeat(60)).expect("a text");
        assert_eq!(text.hidden.dims(), [1, 77, 12]);
        assert!(text.unread.lost.expect("an end").starts_with("ball"));
    }

    #[test]
    fn a_folder_without_a_text_encoder_names_what_it_lacks() {
        let error = encoder(&fixture("../diffusion"))
            .err()
            .expect("no pipeline");
        let error = error.to_string();
        assert!(error.contains("text_encoder/config.json"), "{error}");
    }
}
