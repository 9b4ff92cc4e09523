//! What happens to words that a vocabulary lacks.

use std::collections::HashSet;

use tokenizers::{Model, ModelWrapper, Token};

/// How a word was tokenized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// As written.
    All,
    /// Partly as the unknown token, as in the model's training.
    AsUnknown,
    /// Without the characters that the vocabulary lacks, as in the model's training.
    InPart,
    /// With an error, or as tokens with another meaning.
    Badly,
}

/// Properties of a tokenizer's vocabulary.
pub(super) struct Vocabulary {
    unknown: Unknown,
    /// Tokens of symbols that a vocabulary without all bytes has inside of a word but not at its end. A byte-pair encoding starts from all bytes,
    /// but no word of the training texts ended with these, so their tokens were never trained.
    untrained: HashSet<u32>,
}

/// How the model replaces a piece that the vocabulary lacks.
enum Unknown {
    /// By this token.
    Token(u32),
    /// By nothing.
    Skipped,
    /// By an error, or by this token, which would end the text prematurely.
    Refused(Option<u32>),
}

impl Vocabulary {
    /// `frame` are the tokens that begin and end every text.
    pub fn of(model: &ModelWrapper, frame: &[u32]) -> Self {
        let token = match model {
            ModelWrapper::BPE(bpe) => bpe.unk_token.as_deref(),
            ModelWrapper::WordPiece(words) => Some(words.unk_token.as_str()),
            ModelWrapper::WordLevel(words) => Some(words.unk_token.as_str()),
            // its own unknown token is not public
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
                // an apostrophe begins words such as `'s`
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
                // a vocabulary with all bytes at the end of words may lack only merges of them, which then just begin longer words
                let partial = signs.iter().any(|(token, _)| token.chars().count() == 1);
                let ids = signs.into_iter().map(|(_, id)| id);
                ids.filter(|_| partial).collect()
            }
            _ => HashSet::new(),
        };
        Self { unknown, untrained }
    }

    /// How `word` was tokenized; `tokens` is `None` if that failed.
    pub fn reads(&self, tokens: Option<&[Token]>, word: &str) -> Reads {
        let Some(tokens) = tokens else {
            return Reads::Badly;
        };
        let has = |id: u32| tokens.iter().any(|token| token.id == id);
        let covered = || tokens.iter().map(|token| token.offsets.1 - token.offsets.0);
        let untrained = |token: &Token| self.untrained.contains(&token.id);
        match self.unknown {
            Unknown::Token(id) if has(id) => Reads::AsUnknown,
            Unknown::Skipped if covered().sum::<usize>() < word.len() => Reads::InPart,
            Unknown::Refused(Some(id)) if has(id) => Reads::Badly,
            _ if tokens.iter().any(untrained) => Reads::Badly,
            _ => Reads::All,
        }
    }
}
