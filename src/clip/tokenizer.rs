//! Text to tokens, through the checkpoint's own `tokenizer.json`, or its `vocab.json` and `merges.txt`.

use std::path::Path;

use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Lowercase, NFC, NormalizerWrapper, Replace, Sequence};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer as Inner};

use super::files::TokenizerFiles;

const START: &str = "<|startoftext|>";
pub(super) const END: &str = "<|endoftext|>";
/// What CLIP takes for a word.
const WORDS: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// A checkpoint's tokenizer.
pub struct Tokenizer {
    inner: Inner,
    context: usize,
}

/// A text as tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// The tokens, begin and end among them, no padding.
    pub ids: Vec<u32>,
    /// The end of the text, where it was too long for the context.
    pub lost: Option<String>,
}

impl Tokenizer {
    /// From its files; texts are cut to `context` tokens, begin and end among them.
    pub fn read(files: &TokenizerFiles, context: usize) -> Result<Self, String> {
        match files {
            TokenizerFiles::Json(path) => {
                let json = std::fs::read(path).map_err(|error| cannot_read(path, &error))?;
                Self::from_json(&json, context)
            }
            TokenizerFiles::Pairs { vocabulary, merges } => {
                let inner = pairs(vocabulary, merges)
                    .map_err(|error| cannot_read(vocabulary, &error.to_string()))?;
                Ok(Self { inner, context })
            }
        }
    }

    /// From the contents of a `tokenizer.json`; texts are cut to `context` tokens, begin and end among them.
    pub fn from_json(json: &[u8], context: usize) -> Result<Self, String> {
        let mut inner = Inner::from_bytes(json).map_err(|error| error.to_string())?;
        // what is cut off is to be named, so the cutting happens here
        inner
            .with_truncation(None)
            .map_err(|error| error.to_string())?;
        inner.with_padding(None);
        Ok(Self { inner, context })
    }

    /// The number of a token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The tokens of `text`, and what of it did not fit.
    pub fn encode(&self, text: &str) -> Result<Tokens, String> {
        let encoding = self
            .inner
            .encode(text, true)
            .map_err(|error| error.to_string())?;
        let mut ids = encoding.get_ids().to_vec();
        if ids.len() <= self.context {
            return Ok(Tokens { ids, lost: None });
        }
        let end = ids[ids.len() - 1];
        let cut = self.context - 1;
        let start = encoding.get_offsets()[cut].0;
        ids.truncate(cut);
        ids.push(end);
        let lost = text.get(start..).unwrap_or(text).trim().to_owned();
        Ok(Tokens {
            ids,
            lost: Some(lost),
        })
    }
}

fn cannot_read(path: &Path, what: &dyn std::fmt::Display) -> String {
    format!("cannot read {}: {what}", path.display())
}

/// CLIP's byte-pair encoding, with the steps around it that `tokenizer.json` would spell out.
fn pairs(vocabulary: &Path, merges: &Path) -> tokenizers::Result<Inner> {
    let (vocabulary, merges) =
        BPE::read_file(&vocabulary.to_string_lossy(), &merges.to_string_lossy())?;
    let model = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .unk_token(END.to_owned())
        .end_of_word_suffix("</w>".to_owned())
        .build()?;
    let mut inner = Inner::new(model);
    inner.with_normalizer(Some(Sequence::new(vec![
        NormalizerWrapper::NFC(NFC),
        Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ")?.into(),
        Lowercase.into(),
    ])))?;
    inner.with_pre_tokenizer(Some(PreTokenizers::new(vec![
        PreTokenizerWrapper::Split(Split::new(
            SplitPattern::Regex(WORDS.to_owned()),
            SplitDelimiterBehavior::Removed,
            true,
        )?),
        PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true)),
    ])));
    inner.add_special_tokens(
        [START, END]
            .map(|token| AddedToken::from(token, true))
            .to_vec(),
    )?;
    let id = |token: &str| {
        inner
            .token_to_id(token)
            .ok_or_else(|| format!("it has no {token}"))
    };
    let special = vec![(START, id(START)?), (END, id(END)?)];
    let template = TemplateProcessing::builder()
        .try_single(format!("{START} $A {END}"))?
        .special_tokens(special)
        .build()?;
    inner.with_post_processor(Some(template));
    Ok(inner)
}
