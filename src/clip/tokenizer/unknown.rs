//! What a vocabulary does with words that it lacks.

use std::collections::HashSet;

use tokenizers::{Model, ModelWrapper, Token};

/// How a word came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// As it was written.
    All,
    /// Some of it as the token for the unknown, as in the model's training.
    AsUnknown,
    /// Without what the vocabulary lacks, as in the model's training.
    InPart,
    /// As an error, or as tokens that say something else.
    Badly,
}

/// What is known of a tokenizer's vocabulary.
pub(super) struct Vocabulary {
    unknown: Unknown,
    /// Signs that a vocabulary which lacks bytes has inside of a word and not at its end: no word of the training texts ended with them, so
    /// that their tokens were never trained, but are there because a byte-pair encoding starts from all bytes.
    untrained: HashSet<u32>,
}

/// What becomes of a piece that the vocabulary lacks.
enum Unknown {
    /// This token.
    Token(u32),
    /// Nothing.
    Skipped,
    /// An error; or this token, which would end the text in its middle.
    Refused(Option<u32>),
}

impl Vocabulary {
    /// `frame` are the tokens at which every text begins and ends.
    pub fn of(model: &ModelWrapper, frame: &[u32]) -> Self {
        let token = match model {
            ModelWrapper::BPE(bpe) => bpe.unk_token.as_deref(),
            ModelWrapper::WordPiece(words) => Some(words.unk_token.as_str()),
            ModelWrapper::WordLevel(words) => Some(words.unk_token.as_str()),
            // it keeps the place of its own to itself
            ModelWrapper::Unigram(_) => ["<unk>", "[UNK]"]
                .into_iter()
                .find(|token| model.token_to_id(token).is_some()),
        };
        let unknown = match (token, token.and_then(|token| model.token_to_id(token))) {
            (None, _) if matches!(model, ModelWrapper::BPE(_)) => Unknown::Skipped,
            (_, Some(id)) if !frame.contains(&id) => Unknown::Token(id),
            (_, id) => Unknown::Refused(id),
        };
        let untrained = match (&unknown, model) {
            (Unknown::Refused(_), ModelWrapper::BPE(bpe)) => {
                let suffix = bpe.end_of_word_suffix.as_deref().unwrap_or_default();
                // `'s` is a word, of which an apostrophe is the first sign
                let is_sign =
                    |token: &str| token != "'" && token.chars().all(|c| !c.is_ascii_alphanumeric());
                let ends_words = |token: &str| {
                    token.ends_with(suffix)
                        || model.token_to_id(&format!("{token}{suffix}")).is_some()
                };
                let signs: Vec<(String, u32)> = (bpe.get_vocab().into_iter())
                    .filter(|(token, id)| {
                        is_sign(token) && !ends_words(token) && !frame.contains(id)
                    })
                    .collect();
                // one that has all bytes at the end of words has merges of them that are only there for longer words
                let partial = signs.iter().any(|(token, _)| token.chars().count() == 1);
                let ids = signs.into_iter().map(|(_, id)| id);
                ids.filter(|_| partial).collect()
            }
            _ => HashSet::new(),
        };
        Self { unknown, untrained }
    }

    /// How `word` came out as these tokens; none where that failed.
    pub fn reads(&self, tokens: Option<&[Token]>, word: &str) -> Reads {
        let Some(tokens) = tokens else {
            return Reads::Badly;
        };
        let has = |id: u32| tokens.iter().any(|token| token.id == id);
        let covered = || tokens.iter().map(|token| token.offsets.1 - token.offsets.0);
        match self.unknown {
            Unknown::Token(id) if has(id) => Reads::AsUnknown,
            Unknown::Skipped if covered().sum::<usize>() < word.len() => Reads::InPart,
            Unknown::Refused(Some(id)) if has(id) => Reads::Badly,
            _ if tokens
                .iter()
                .any(|token| self.untrained.contains(&token.id)) =>
            {
                Reads::Badly
            }
            _ => Reads::All,
        }
    }
}
