//! Text to tokens, through the checkpoint's own `tokenizer.json`.

use tokenizers::Tokenizer as Inner;

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
