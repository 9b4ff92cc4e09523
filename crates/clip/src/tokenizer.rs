//! Text to tokens, through the checkpoint's own `tokenizer.json`, or its `vocab.json` and `merges.txt`.
//!
//! Any text can be tokenized. Characters that a vocabulary lacks are transliterated or left out, and reported in [`Unread`]. Published
//! vocabularies of CLIP have every byte and lack nothing; small ones may.

mod fit;
mod long;
mod unknown;

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::Path;

use phantasia_core::diagnostic::shown;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Lowercase, NFC, NormalizerWrapper, Replace, Sequence};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, Encoding, Model, ModelWrapper, NormalizedString, OffsetReferential, OffsetType,
    PreTokenizedString, PreTokenizer, PreTokenizerWrapper, SplitDelimiterBehavior, Token,
    Tokenizer as Inner,
};

use crate::clean;
use crate::config::{ClipConfig, Layout, TextCleaning};
use crate::error::ClipError;
use crate::files::{ClipFiles, TokenizerFiles};
use crate::token_rules::Rules;
use unknown::{Reads, Vocabulary};

pub use long::{ReadText, TextPart};

const START: &str = "<|startoftext|>";
pub(super) const END: &str = "<|endoftext|>";
/// open_clip's names of them in texts.
const TYPED: [&str; 2] = ["<start_of_text>", "<end_of_text>"];
/// The words of a text in transformers' CLIP tokenizer.
const WORDS: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
/// The same in open_clip's.
const OPEN_WORDS: &str =
    r"(?i)<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// A checkpoint's tokenizer.
pub struct Tokenizer {
    inner: Inner,
    context: usize,
    cleaning: Cleaning,
    /// The cleaning that the configuration sets.
    clean: TextCleaning,
    rules: Rules,
    vocabulary: Vocabulary,
}

/// How a text is cleaned and split into words.
enum Cleaning {
    /// As the tokenizer's file says, as in transformers.
    Own,
    /// open_clip's `SimpleTokenizer`, which ignores the file's rules: its own cleaning, words and special tokens.
    OpenClip {
        words: Box<PreTokenizerWrapper>,
        /// The ids of [`TYPED`].
        typed: [u32; 2],
    },
    /// open_clip's `HFTokenizer`, for other tokenizers: cleaned, then as the file says.
    Whitespace,
}

/// A text as tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// The tokens, begin and end among them; padded by [`Tokenizer::read_text`] alone, where the text tower reads the padding.
    pub ids: Vec<u32>,
    /// How many of them are the text's own: without begin, end and padding.
    pub count: usize,
    /// The parts of the text that they do not represent.
    pub unread: Unread,
    /// Whether the text is not empty and no token of it is left.
    pub nothing: bool,
}

/// The parts of a text that a model does not read as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// The end of the text, if it was too long for the context.
    pub lost: Option<String>,
    /// Pieces that were left out because the vocabulary has nothing similar.
    pub dropped: Vec<String>,
    /// Pieces that were transliterated, and their transliterations.
    pub replaced: Vec<(String, String)>,
    /// Pieces that became the vocabulary's unknown token.
    pub unknown: Vec<String>,
}

impl Unread {
    /// A sentence for each kind of loss with the model of that name; `text` describes the text, such as `a prompt`.
    pub fn of_model(&self, name: &str, text: &str) -> Vec<String> {
        const REMEDY: &str = ". To read all of it: `long_text: average` in the recipe's `clip`, or `--long-text average`";
        self.sentences(&format!("`{name}`"), text, REMEDY)
    }

    /// The same for a prompt of a recipe, for which there is no `--long-text`.
    pub fn of_recipe(&self, name: &str, text: &str) -> Vec<String> {
        const REMEDY: &str =
            ". To read all of it: `long_text: average` beside the `model` in the recipe's `clip`";
        self.sentences(&format!("`{name}`"), text, REMEDY)
    }

    /// The same for other models than CLIPs, with `model` as the subject of the sentences.
    pub fn warnings(&self, model: &str, text: &str) -> Vec<String> {
        self.sentences(model, text, "")
    }

    /// `remedy` ends the sentence about a text that was cut.
    fn sentences(&self, model: &str, text: &str, remedy: &str) -> Vec<String> {
        let mut warnings = vec![];
        if let Some(lost) = &self.lost {
            warnings.push(format!(
                "{model} does not read all of {text}: it stops before {}{remedy}",
                quoted(&beginning(lost))
            ));
        }
        let replaced = self.replaced.iter();
        let replaced = replaced.map(|(from, to)| format!("{} as {}", quoted(from), quoted(to)));
        if let Some(list) = listed(replaced) {
            warnings.push(format!(
                "{model} reads {list} in {text}: its vocabulary has no such characters"
            ));
        }
        if let Some(list) = listed(self.dropped.iter().map(|piece| quoted(piece))) {
            warnings.push(format!(
                "{model} leaves out {list} in {text}: its vocabulary has nothing similar"
            ));
        }
        if let Some(list) = listed(self.unknown.iter().map(|piece| quoted(piece))) {
            warnings.push(format!(
                "{model} does not know {list} in {text}, and reads it as an unknown word"
            ));
        }
        warnings
    }
}

/// The beginning of a long text.
fn beginning(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

/// Quotes a piece, with backticks if it contains quotes.
fn quoted(piece: &str) -> String {
    let piece = shown(piece);
    let quote = if piece.contains('"') { '`' } else { '"' };
    format!("{quote}{piece}{quote}")
}

/// The first distinct pieces and the number of the others; `None` if there are none.
fn listed(pieces: impl Iterator<Item = String>) -> Option<String> {
    const MOST: usize = 8;
    // a long text may have thousands of them
    let mut seen = HashSet::new();
    let mut kept: Vec<String> = vec![];
    for piece in pieces {
        if seen.insert(piece.clone()) && kept.len() < MOST {
            kept.push(piece);
        }
    }
    let more = seen.len() - kept.len();
    match (kept.is_empty(), more) {
        (true, _) => None,
        (_, 0) => Some(kept.join(", ")),
        _ => Some(format!("{} and {more} more", kept.join(", "))),
    }
}

impl Tokenizer {
    /// From its files; texts are cut to `context` tokens, begin and end among them, and cleaned as in the library of that layout.
    ///
    /// # Errors
    /// If a file cannot be read, or is not a tokenizer.
    pub fn read(files: &TokenizerFiles, context: usize, layout: Layout) -> Result<Self, String> {
        let inner = match files {
            TokenizerFiles::Json(path) => {
                let json = std::fs::read(path).map_err(|error| cannot_read(path, &error))?;
                Inner::from_bytes(json).map_err(|error| error.to_string())?
            }
            TokenizerFiles::Pairs { vocabulary, merges } => pairs(vocabulary, merges)
                .map_err(|error| cannot_read(vocabulary, &error.to_string()))?,
        };
        Self::new(inner, context, layout).map_err(|error| error.to_string())
    }

    /// From the contents of a `tokenizer.json`, which describes all processing of a text; texts are cut to `context` tokens, begin and end
    /// among them.
    ///
    /// # Errors
    /// If it is not a tokenizer.
    pub fn from_json(json: &[u8], context: usize) -> Result<Self, String> {
        let inner = Inner::from_bytes(json).map_err(|error| error.to_string())?;
        Self::new(inner, context, Layout::HuggingFace).map_err(|error| error.to_string())
    }

    fn new(mut inner: Inner, context: usize, layout: Layout) -> tokenizers::Result<Self> {
        // truncated here, because the part that is cut off is reported
        inner.with_truncation(None)?;
        inner.with_padding(None);
        let frame = inner.post_process(Encoding::default(), None, true)?;
        let cleaning = match (layout, special(&inner)) {
            (Layout::HuggingFace, _) => Cleaning::Own,
            (Layout::OpenClip, Some(typed)) if is_clip(inner.get_model()) => {
                let words = words(OPEN_WORDS, ByteLevel::new(false, true, false))?;
                let words = Box::new(PreTokenizerWrapper::Sequence(words));
                Cleaning::OpenClip { words, typed }
            }
            (Layout::OpenClip, _) => Cleaning::Whitespace,
        };
        let vocabulary = Vocabulary::of(inner.get_model(), frame.get_ids());
        Ok(Self {
            inner,
            context,
            cleaning,
            clean: TextCleaning::Tokenizer,
            rules: Rules::default(),
            vocabulary,
        })
    }

    /// The tokenizer of a CLIP with these files and that configuration. `name` is what messages call the model.
    ///
    /// # Errors
    /// As [`Tokenizer::read`]. Also if the model has no tokenizer of its own and CLIP's standard one does not fit it, or if its files do not
    /// name a special token that the configuration requires.
    pub fn of_clip(name: &str, files: &ClipFiles, config: &ClipConfig) -> Result<Self, ClipError> {
        let failed = |what| ClipError::tokenizer(name, what);
        let text = &config.text;
        let folder = files.weights.parent();
        let belongs = |found: &TokenizerFiles| files.tokenizer_is_known || found.folder() == folder;
        if !text.reads_clip_tokens() && !files.tokenizer.as_ref().is_some_and(belongs) {
            let own = match files.tokenizer_name() {
                Some((key, own)) => {
                    format!("the model's own is that of `{own}` (`{key}`)")
                }
                None if text.tokens.own_tokenizer => "the model has one of its own".to_owned(),
                None => format!("the model has {} tokens of its own", text.vocabulary),
            };
            return Err(failed(format!(
                "there is none next to the weights, and the standard tokenizer of CLIP does not fit: {own}; put its tokenizer.json, with the .json files that came with it, next to {}",
                files.weights.display()
            )));
        }
        let Some(files) = &files.tokenizer else {
            return Err(ClipError::NoFile {
                folder: folder.map_or_else(String::new, |folder| folder.display().to_string()),
                missing: "tokenizer.json",
                wanted: "a tokenizer; this model reads the standard one of CLIP, and `phantasia models fetch openai/clip-vit-base-patch32` downloads it",
            });
        };
        let mut tokenizer = Self::read(files, text.context, config.layout).map_err(failed)?;
        tokenizer.rules =
            Rules::new(text, |token| tokenizer.id(token), files.folder()).map_err(failed)?;
        tokenizer.clean = text.tokens.cleaning;
        // a tokenizer that the configuration names is read by open_clip's HFTokenizer, of whatever kind it is
        if text.tokens.own_tokenizer {
            tokenizer.cleaning = Cleaning::Whitespace;
        }
        (tokenizer.follow_rules()).map_err(|error| failed(error.to_string()))?;
        Ok(tokenizer)
    }

    /// Changes the steps that its file describes where the rules of the model differ.
    fn follow_rules(&mut self) -> tokenizers::Result<()> {
        if self.clean == TextCleaning::Siglip2 {
            // as transformers does it: after special tokens have been found, and each character by itself
            let mut steps = vec![NormalizerWrapper::Lowercase(Lowercase)];
            steps.extend(self.inner.get_normalizer().cloned());
            self.inner.with_normalizer(Some(Sequence::new(steps)))?;
        }
        let frame = self.inner.post_process(Encoding::default(), None, true)?;
        if let Some(wanted) = &self.rules.frame {
            let ids: Vec<u32> = wanted.iter().map(|(_, id)| *id).collect();
            let mut pieces: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
            // before the last
            pieces.insert(pieces.len() - 1, "$A");
            if frame.get_ids() != ids {
                let template = TemplateProcessing::builder()
                    .try_single(pieces)?
                    .special_tokens(wanted.clone())
                    .build()?;
                self.inner.with_post_processor(Some(template));
                self.vocabulary = Vocabulary::of(self.inner.get_model(), &ids);
            }
        }
        Ok(())
    }

    /// The tokens of a text for `model`, padded if its text tower reads the padding.
    ///
    /// # Errors
    /// [`ClipError::Unreadable`] if it is not empty but none of it is left; as [`Tokenizer::encode`].
    pub fn read_text(&self, model: &str, text: &str) -> Result<Tokens, ClipError> {
        let mut tokens = self
            .encode(text)
            .map_err(|what| ClipError::tokenizer(model, what))?;
        if tokens.nothing {
            return Err(ClipError::Unreadable(model.to_owned(), text.to_owned()));
        }
        self.rules.finish(&mut tokens.ids);
        Ok(tokens)
    }

    /// The number of a token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The tokens of any text, and the parts of it that they do not represent.
    ///
    /// # Errors
    /// If the tokenizer's file contains rules that cannot be applied. No text causes an error.
    pub fn encode(&self, text: &str) -> Result<Tokens, String> {
        let cleaned = self.cleaned(text);
        let unread = RefCell::default();
        let encoding = (self.pieces(&cleaned, &unread)).map_err(|error| error.to_string())?;
        let nothing = encoding.is_empty() && !text.trim().is_empty();
        let framed = || {
            let count = encoding.len().min(self.room()?);
            let (ids, lost) = self.framed(encoding, &cleaned)?;
            let mut unread = unread.into_inner();
            unread.lost = lost;
            // accents alone, for instance, which a normalizer takes off
            if nothing && unread == Unread::default() {
                unread.dropped.push(text.trim().to_owned());
            }
            Ok(Tokens {
                ids,
                count,
                unread,
                nothing,
            })
        };
        framed().map_err(|error: tokenizers::Error| error.to_string())
    }

    /// The text as it is tokenized.
    fn cleaned(&self, text: &str) -> String {
        match (&self.cleaning, self.clean) {
            (_, TextCleaning::Siglip) => clean::siglip(text),
            (Cleaning::Own, _) | (_, TextCleaning::Siglip2) => text.to_owned(),
            (_, TextCleaning::Canonicalize) => clean::canonical(text),
            (_, TextCleaning::Lower) | (Cleaning::OpenClip { .. }, TextCleaning::Tokenizer) => {
                clean::lower(text)
            }
            (_, TextCleaning::Whitespace) | (Cleaning::Whitespace, TextCleaning::Tokenizer) => {
                clean::whitespace(text)
            }
        }
    }

    /// The tokens of a cleaned text without begin and end. Pieces of it that they do not represent are added to `unread`.
    fn pieces(&self, cleaned: &str, unread: &RefCell<Unread>) -> tokenizers::Result<Encoding> {
        let mut pieces = self.split(cleaned)?;
        pieces.tokenize(|word| Ok(self.word(word, unread)))?;
        pieces.into_encoding(None, 0, OffsetType::Byte)
    }

    /// How many tokens of a text fit the context beside begin and end.
    fn room(&self) -> tokenizers::Result<usize> {
        let frame = self.inner.post_process(Encoding::default(), None, true)?;
        Ok(self.context.saturating_sub(frame.len()).max(1))
    }

    /// A cleaned text's tokens with begin and end, cut to the context, and the end of the text that was cut off.
    fn framed(
        &self,
        encoding: Encoding,
        cleaned: &str,
    ) -> tokenizers::Result<(Vec<u32>, Option<String>)> {
        let encoding = self.inner.post_process(encoding, None, true)?;
        let mut ids = encoding.get_ids().to_vec();
        let count = ids.len();
        if count <= self.context {
            return Ok((ids, None));
        }
        // the tokens that end every text stay: one for CLIP's tokenizer, none or several for others
        let special = encoding.get_special_tokens_mask().iter().rev();
        let end = special.take_while(|&&special| special == 1).count();
        let cut = self.context.saturating_sub(end);
        let start = encoding.get_offsets()[cut].0;
        ids.drain(cut..count - end);
        let lost = cleaned.get(start..).unwrap_or(cleaned);
        Ok((ids, Some(lost.trim().to_owned())))
    }

    /// The words of a text, as the model's vocabulary has them.
    fn split(&self, text: &str) -> tokenizers::Result<PreTokenizedString> {
        let (mut pieces, words) = match &self.cleaning {
            Cleaning::OpenClip { words, .. } => (text.into(), Some(&**words)),
            Cleaning::Own | Cleaning::Whitespace => {
                let normalizer = self.inner.get_normalizer();
                let added = self.inner.get_added_vocabulary();
                let pieces = added.extract_and_normalize(normalizer, text);
                (pieces, self.inner.get_pre_tokenizer())
            }
        };
        if let Some(words) = words {
            words.pre_tokenize(&mut pieces)?;
        }
        Ok(pieces)
    }

    /// The tokens of a word.
    fn word(&self, word: &NormalizedString, unread: &RefCell<Unread>) -> Vec<Token> {
        let written = word.get();
        if let Cleaning::OpenClip { typed, .. } = &self.cleaning
            && let Some(place) = TYPED.iter().position(|typed| *typed == written)
        {
            let all = (0, written.len());
            return vec![Token::new(typed[place], written.to_owned(), all)];
        }
        let tokens = self.inner.get_model().tokenize(written);
        let original = word.get_original();
        match self.vocabulary.reads(tokens.as_deref().ok(), written) {
            Reads::All => {}
            Reads::AsUnknown => unread.borrow_mut().unknown.push(original.to_owned()),
            Reads::InPart => unread.borrow_mut().dropped.push(original.to_owned()),
            Reads::Badly => {
                return self.nearest(original, written.len(), &mut unread.borrow_mut());
            }
        }
        tokens.unwrap_or_default()
    }

    /// The tokens that replace a word that the vocabulary lacks: the letters and digits of its transliteration. Symbols are left out,
    /// because they have no other spelling, and a few of their tokens would change the meaning more than they add to it.
    fn nearest(&self, original: &str, length: usize, unread: &mut Unread) -> Vec<Token> {
        let spelled = deunicode::deunicode_with_tofu(original, "").to_lowercase();
        // digits in the transliteration of a symbol only number the symbols of that name
        let numeric = original.chars().any(char::is_numeric);
        let wanted = |c: char| c.is_ascii_alphabetic() || (numeric && c.is_ascii_digit());
        let parts = spelled.split(|c: char| !wanted(c));
        let mut read = vec![];
        let mut tokens = vec![];
        for part in parts.filter(|part| !part.is_empty()) {
            if let Some(found) = self.plainly(part) {
                read.push(part);
                tokens.extend(found);
            }
        }
        // all of them stand for the whole word
        for token in &mut tokens {
            token.offsets = (0, length);
        }
        if read.is_empty() {
            unread.dropped.push(original.to_owned());
        } else {
            unread.replaced.push((original.to_owned(), read.join(" ")));
        }
        tokens
    }

    /// The tokens of letters and digits, where the vocabulary has them all.
    fn plainly(&self, part: &str) -> Option<Vec<Token>> {
        let pieces = self.split(part).ok()?;
        let mut tokens = vec![];
        for (word, _, special) in pieces.get_splits(OffsetReferential::Original, OffsetType::Byte) {
            let found = self.inner.get_model().tokenize(word).ok();
            let reads = self.vocabulary.reads(found.as_deref(), word);
            if special.is_some() || reads != Reads::All {
                return None;
            }
            tokens.extend(found?);
        }
        Some(tokens)
    }
}

fn cannot_read(path: &Path, what: &dyn std::fmt::Display) -> String {
    format!("cannot read {}: {what}", path.display())
}

/// Whether it is a byte-pair encoding whose words end in `</w>`, as CLIP's.
fn is_clip(model: &ModelWrapper) -> bool {
    matches!(model, ModelWrapper::BPE(bpe) if bpe.end_of_word_suffix.as_deref() == Some("</w>"))
}

/// The tokens at which a text begins and ends.
fn special(inner: &Inner) -> Option<[u32; 2]> {
    let id = |names: [&str; 2]| names.iter().find_map(|name| inner.token_to_id(name));
    Some([id([START, TYPED[0]])?, id([END, TYPED[1]])?])
}

/// Cuts a text at these words; `bytes` then writes each byte as a character of the vocabulary.
fn words(pattern: &str, bytes: ByteLevel) -> tokenizers::Result<PreTokenizers> {
    Ok(PreTokenizers::new(vec![
        PreTokenizerWrapper::Split(Split::new(
            SplitPattern::Regex(pattern.to_owned()),
            SplitDelimiterBehavior::Removed,
            true,
        )?),
        PreTokenizerWrapper::ByteLevel(bytes),
    ]))
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
    inner.with_pre_tokenizer(Some(words(WORDS, ByteLevel::new(false, true, true))?));
    let known = |name| Some((name, inner.token_to_id(name)?));
    let mut special = [[START, END], TYPED].into_iter();
    let special = special.find_map(|[start, end]| Some([known(start)?, known(end)?]));
    let Some(special @ [(start, _), (end, _)]) = special else {
        return Err(format!("it has no {START} and {END}").into());
    };
    inner.add_special_tokens([start, end].map(|token| AddedToken::from(token, true)))?;
    let template = TemplateProcessing::builder()
        .try_single(format!("{start} $A {end}"))?
        .special_tokens(special.to_vec())
        .build()?;
    inner.with_post_processor(Some(template));
    Ok(inner)
}

#[cfg(test)]
mod tests;
