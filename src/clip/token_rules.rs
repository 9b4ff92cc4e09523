//! What is done to tokens that a tokenizer's own file does not say.

use std::path::Path;

use super::config::TextConfig;
use super::files::special_token;
use super::tokenizer::Tokenizer;

/// What the tokenizers of the field call their padding, where no file says.
const PADDINGS: [&str; 2] = ["[PAD]", "<pad>"];
const SEPARATOR: &str = "[SEP]";

/// A text tower's [`super::config::TokenRules`], with the numbers that tokens have in its tokenizer.
#[derive(Default)]
pub(super) struct Rules {
    /// Texts are filled up to so many tokens, with that one.
    padding: Option<(usize, u32)>,
    /// The token that becomes a zero.
    separator: Option<u32>,
}

impl Rules {
    /// Those of a text tower. Names of special tokens are read from the files in the tokenizer's `folder`.
    ///
    /// # Errors
    /// Where a token is needed that the tokenizer does not name; the words follow its name.
    pub(super) fn new(
        config: &TextConfig,
        tokenizer: &Tokenizer,
        folder: Option<&Path>,
    ) -> Result<Self, String> {
        let rules = &config.tokens;
        let token = |key: &str, usual: &[&str]| {
            let named = match folder {
                Some(folder) => special_token(folder, key).map_err(|error| error.to_string())?,
                None => None,
            };
            let id = match named {
                Some(name) => tokenizer.id(&name),
                None => usual.iter().find_map(|name| tokenizer.id(name)),
            };
            id.ok_or_else(|| {
                format!(
                    "its `{key}` is needed, and neither special_tokens_map.json nor tokenizer_config.json beside it names one that it has"
                )
            })
        };
        let padding = match (config.reads_padding(), rules.own_tokenizer) {
            (false, _) => None,
            (true, false) => Some((config.context, 0)),
            (true, true) => Some((config.context, token("pad_token", &PADDINGS)?)),
        };
        if padding.is_some() && rules.own_tokenizer {
            let side = folder.map(|folder| special_token(folder, "padding_side"));
            if let Some(Ok(Some(side))) = side
                && side != "right"
            {
                return Err(format!(
                    "it pads texts on the {side} (`padding_side`), which is not built"
                ));
            }
        }
        let separator = match rules.strip_separator {
            true => Some(token("sep_token", &[SEPARATOR])?),
            false => None,
        };
        Ok(Self { padding, separator })
    }

    /// The tokens as the tower is given them.
    pub(super) fn finish(&self, ids: &mut Vec<u32>) {
        if let Some((context, padding)) = self.padding {
            ids.resize(context.max(ids.len()), padding);
        }
        if let Some(separator) = self.separator {
            for id in ids.iter_mut().filter(|id| **id == separator) {
                *id = 0;
            }
        }
    }
}
