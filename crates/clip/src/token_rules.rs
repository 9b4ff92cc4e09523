//! Steps after tokenization that are not in the tokenizer's own file: padding and removed separators.

use std::path::Path;

use crate::config::{TextConfig, TextFrame};
use crate::files::tokenizer_setting;

/// The usual names of the padding token, for tokenizers whose files do not name it.
const PADDINGS: [&str; 2] = ["[PAD]", "<pad>"];
const SEPARATOR: &str = "[SEP]";
/// The usual names of the token that ends texts.
const ENDS: [&str; 2] = ["</s>", "<eos>"];
/// NLLB's code for English.
const LANGUAGE: &str = "eng_Latn";

/// A text tower's [`super::config::TokenRules`], with the ids of its tokenizer.
#[derive(Default)]
pub(super) struct Rules {
    /// Texts are padded to this many tokens, with this id.
    padding: Option<(usize, u32)>,
    /// The id that is replaced by 0.
    separator: Option<u32>,
    /// The tokens before and behind every text, where the tokenizer's file does not decide them.
    pub(super) frame: Option<Vec<(String, u32)>>,
}

impl Rules {
    /// The rules of a text tower. The names of special tokens are read from the files in the tokenizer's `folder`; `id` looks a token up.
    ///
    /// # Errors
    /// If a required token is not named or does not exist, or texts are padded on the left; as a clause.
    pub(super) fn new(
        config: &TextConfig,
        id: impl Fn(&str) -> Option<u32>,
        folder: Option<&Path>,
    ) -> Result<Self, String> {
        let rules = &config.tokens;
        let setting = |key: &str| match folder {
            Some(folder) => tokenizer_setting(folder, key).map_err(|error| error.to_string()),
            None => Ok(None),
        };
        let token = |key: &str, usual: &[&str]| {
            let found = match setting(key)? {
                Some(name) => id(&name),
                None => usual.iter().find_map(|name| id(name)),
            };
            found.ok_or_else(|| {
                format!(
                    "the model requires its `{key}`, and neither special_tokens_map.json nor tokenizer_config.json next to it names one of its tokens"
                )
            })
        };
        let padding = match (config.reads_padding(), rules.own_tokenizer) {
            (false, _) => None,
            (true, false) => Some((config.context, 0)),
            (true, true) => Some((config.context, token("pad_token", &PADDINGS)?)),
        };
        if padding.is_some()
            && rules.own_tokenizer
            && rules.frame == TextFrame::File
            && let Some(side) = setting("padding_side")?
            && side != "right"
        {
            return Err(format!(
                "it pads texts on the {side} (`padding_side`), which is not supported"
            ));
        }
        let separator = (rules.strip_separator).then(|| token("sep_token", &[SEPARATOR]));
        let separator = separator.transpose()?;
        // a tokenizer without such a token frames texts as its file says
        let known = |key: &str, usual: &[&str]| {
            let usual = usual.iter().map(|name| (*name).to_owned());
            let mut names = setting(key)?.into_iter().chain(usual);
            Ok::<_, String>(names.find_map(|name| Some((name.clone(), id(&name)?))))
        };
        let frame = match rules.frame {
            TextFrame::File => None,
            TextFrame::End => known("eos_token", &ENDS)?.map(|end| vec![end]),
            TextFrame::Language => known("src_lang", &[LANGUAGE])?
                .zip(known("eos_token", &ENDS)?)
                .map(|(code, end)| vec![code, end]),
        };
        Ok(Self {
            padding,
            separator,
            frame,
        })
    }

    /// Applies the rules to a text's tokens.
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
