//! Wildcards in the texts of prompts: `a {red|blue} car` stands for `a red car` and `a blue car`.
//!
//! A render paints one of them, drawn by its seed; a sweep paints all. Alternatives may be empty, and may hold wildcards themselves. Braces
//! without a bar between them are ordinary characters, and so are `\{`, `\|` and `\}`.

use rand::Rng;

use super::Recipe;
use crate::random::{Purpose, rng};

/// Deepest nesting of braces in a text with wildcards.
const DEEPEST: usize = 16;
/// The most texts that one wildcard may stand for.
const MOST: usize = 10_000;
/// The characters with a meaning.
const MARKS: [char; 3] = ['{', '|', '}'];

/// A text that was read: what is literal in it, and its wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Choice(Vec<Template>),
}

/// Whether a text is read as something else than it is: whether it has wildcards, or escaped braces and bars.
pub(crate) fn is_marked(text: &str) -> bool {
    let is_plain = |read: Template| {
        matches!(read.0.as_slice(), [] | [Part::Literal(_)]) && read.literal() == text
    };
    !Template::read(text).is_ok_and(is_plain)
}

/// Whether a text has wildcards.
pub(crate) fn has_wildcards(text: &str) -> bool {
    Template::read(text).is_ok_and(|read| read.has_wildcards())
}

/// A text that is read as `text`, with every character as it is.
pub(crate) fn escape(text: &str) -> String {
    if !is_marked(text) {
        return text.to_owned();
    }
    let mut escaped = String::new();
    for c in text.chars() {
        if MARKS.contains(&c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

impl Template {
    /// Reads a text.
    ///
    /// # Errors
    /// When a brace with alternatives is not closed, or braces are nested too deeply.
    pub fn read(text: &str) -> Result<Self, String> {
        // most texts have no wildcards; this also keeps a text of nothing but braces from being read in depth
        if !text.contains('|') && !MARKS.iter().any(|mark| text.contains(&format!("\\{mark}"))) {
            let literal = Part::Literal(text.to_owned());
            return Ok(Self(if text.is_empty() {
                vec![]
            } else {
                vec![literal]
            }));
        }
        let chars: Vec<char> = text.chars().collect();
        let mut reader = Reader {
            chars: &chars,
            at: 0,
        };
        let read = reader.sequence(0)?;
        Ok(Self::joined(read))
    }

    /// Neighbouring literals as one.
    fn joined(parts: Vec<Part>) -> Self {
        let mut joined: Vec<Part> = vec![];
        for part in parts {
            match (joined.last_mut(), part) {
                (Some(Part::Literal(before)), Part::Literal(text)) => before.push_str(&text),
                (_, part) => joined.push(part),
            }
        }
        Self(joined)
    }

    fn has_wildcards(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Choice(_)))
    }

    fn literal(&self) -> String {
        let text = |part: &Part| match part {
            Part::Literal(text) => text.clone(),
            Part::Choice(_) => String::new(),
        };
        self.0.iter().map(text).collect()
    }

    /// Its wildcards, those inside of others not among them: each as it may be written, and the texts that it stands for.
    ///
    /// # Errors
    /// When one stands for too many.
    pub fn wildcards(&self) -> Result<Vec<(String, Vec<String>)>, String> {
        let choices = self.0.iter().filter(|part| matches!(part, Part::Choice(_)));
        choices
            .map(|part| {
                let texts = Self(vec![part.clone()]).texts()?;
                Ok((format!("{{{}}}", texts.join("|")), texts))
            })
            .collect()
    }

    /// All texts that it stands for, the last wildcard varying fastest.
    ///
    /// # Errors
    /// When they are too many.
    pub fn texts(&self) -> Result<Vec<String>, String> {
        let mut texts = vec![String::new()];
        for part in &self.0 {
            let endings = match part {
                Part::Literal(text) => vec![text.clone()],
                Part::Choice(alternatives) => {
                    let mut all = vec![];
                    for alternative in alternatives {
                        all.extend(alternative.texts()?);
                    }
                    all
                }
            };
            if texts.len().saturating_mul(endings.len()) > MOST {
                return Err(format!("a wildcard stands for more than {MOST} texts"));
            }
            texts = (texts.iter())
                .flat_map(|text| {
                    endings.iter().map(move |ending| {
                        let mut text = text.clone();
                        append(&mut text, ending);
                        text
                    })
                })
                .collect();
        }
        Ok(texts)
    }

    /// The text with these words for its [`wildcards`](Self::wildcards), in their order.
    pub fn fill(&self, words: &[&str]) -> String {
        let mut words = words.iter();
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(text) => append(&mut filled, text),
                Part::Choice(_) => append(&mut filled, words.next().copied().unwrap_or_default()),
            }
        }
        filled
    }

    /// The text with one alternative of each wildcard.
    fn draw(&self, random: &mut impl Rng) -> String {
        let mut drawn = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(text) => append(&mut drawn, text),
                Part::Choice(alternatives) => {
                    let index = random.random_range(0..alternatives.len());
                    append(&mut drawn, &alternatives[index].draw(random));
                }
            }
        }
        drawn
    }
}

/// Appends a text, without a second space where nothing was put between two.
fn append(text: &mut String, more: &str) {
    let doubles = more.starts_with(' ') && (text.is_empty() || text.ends_with(' '));
    text.push_str(if doubles && !text.is_empty() {
        &more[1..]
    } else {
        more
    });
}

struct Reader<'c> {
    chars: &'c [char],
    at: usize,
}

impl Reader<'_> {
    /// Reads to the end, or in braces to a bar or a closing brace.
    fn sequence(&mut self, depth: usize) -> Result<Vec<Part>, String> {
        let mut parts = vec![];
        while let Some(&c) = self.chars.get(self.at) {
            match c {
                '|' | '}' if depth > 0 => break,
                '{' => {
                    parts.extend(self.braces(depth + 1)?);
                    continue;
                }
                '\\' if self
                    .chars
                    .get(self.at + 1)
                    .is_some_and(|next| MARKS.contains(next)) =>
                {
                    self.at += 1;
                    parts.push(Part::Literal(self.chars[self.at].to_string()));
                }
                c => parts.push(Part::Literal(c.to_string())),
            }
            self.at += 1;
        }
        Ok(parts)
    }

    /// Reads what begins with an opening brace.
    fn braces(&mut self, depth: usize) -> Result<Vec<Part>, String> {
        if depth > DEEPEST {
            return Err(format!("braces are nested more than {DEEPEST} deep"));
        }
        let start = self.at;
        let mut alternatives = vec![];
        loop {
            self.at += 1;
            alternatives.push(self.sequence(depth)?);
            match self.chars.get(self.at) {
                Some('|') => {}
                Some(_) => {
                    self.at += 1;
                    break;
                }
                None if alternatives.len() > 1 => {
                    let rest: String = self.chars[start..].iter().take(24).collect();
                    return Err(format!(
                        "the wildcard `{rest}` has no closing brace: close it, or write `\\{{` for a brace that is one"
                    ));
                }
                // a brace that nothing closes is an ordinary character
                None => {
                    let open = Part::Literal('{'.to_string());
                    return Ok(std::iter::once(open)
                        .chain(alternatives.remove(0))
                        .collect());
                }
            }
        }
        if alternatives.len() > 1 {
            let read = alternatives.into_iter().map(Template::joined);
            return Ok(vec![Part::Choice(read.collect())]);
        }
        let [open, close] = ['{', '}'].map(|brace| Part::Literal(brace.to_string()));
        let inner = alternatives.remove(0);
        Ok([vec![open], inner, vec![close]].concat())
    }
}

impl Recipe {
    /// Draws the words of all wildcards by the seed. Returns what is wrong with texts, each with its path.
    pub(super) fn draw_wildcards(&mut self) -> Vec<(String, String)> {
        let texts = self.texts().into_iter();
        let texts: Vec<_> = texts.map(|(path, text)| (path, text.to_owned())).collect();
        let mut wrong = vec![];
        if !texts.iter().any(|(_, text)| is_marked(text)) {
            return wrong;
        }
        let seed = self.seed;
        let mut texts = texts.into_iter().enumerate();
        self.for_each_text(|text| {
            let Some((index, (path, written))) = texts.next() else {
                return;
            };
            match Template::read(&written) {
                Ok(template) => {
                    *text = template.draw(&mut rng(seed, Purpose::Wildcards, 0, index));
                }
                Err(why) => wrong.push((path, why)),
            }
        });
        wrong
    }

    /// The recipe with its texts written so that they are read as they are.
    pub(super) fn escaped(&self) -> Self {
        let mut escaped = self.clone();
        escaped.for_each_text(|text| *text = escape(text));
        escaped
    }

    /// All texts of prompts, those of stages and of the timeline included, in the order of [`Recipe::texts`].
    pub(crate) fn for_each_text(&mut self, mut change: impl FnMut(&mut String)) {
        let stages = (self.generator.0.iter_mut()).filter_map(|stage| stage.prompts.as_mut());
        let edits = (self.timeline.iter_mut()).filter_map(|edit| edit.prompts.as_mut());
        let lists = std::iter::once(&mut self.prompts)
            .chain(stages)
            .chain(edits);
        for text in lists.flatten().flat_map(|prompt| prompt.texts_mut()) {
            change(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn texts(text: &str) -> Vec<String> {
        Template::read(text)
            .and_then(|read| read.texts())
            .expect("texts")
    }

    #[test]
    fn a_wildcard_stands_for_its_alternatives() {
        assert_eq!(
            texts("{red|blue} {car|boat}"),
            ["red car", "red boat", "blue car", "blue boat"]
        );
        assert_eq!(texts("a {b|c {d|e}}"), ["a b", "a c d", "a c e"]);
        let template = Template::read("a {|red} car, {x|y}").expect("a template");
        let words: Vec<_> = (template.wildcards().expect("words").into_iter())
            .map(|(name, _)| name)
            .collect();
        assert_eq!(words, ["{|red}", "{x|y}"]);
        assert_eq!(template.fill(&["", "y"]), "a car, y");
        assert_eq!(template.fill(&["red", "x"]), "a red car, x");
    }

    #[test]
    fn what_is_no_wildcard_stays() {
        for text in [
            "",
            "a {prompt} b",
            "{",
            "}{",
            "a | b",
            "{{{{",
            "a \\ b",
            "{prompt {x}",
            "\\n",
            "a} b",
        ] {
            assert!(!is_marked(text), "{text}");
            assert_eq!(escape(text), text);
            assert_eq!(texts(text), [text]);
        }
        let braces = "{".repeat(100_000);
        assert_eq!(texts(&braces), [braces]);
        for wrong in ["a {red|blue", "{a|{b|c}", &("{".repeat(40) + "|")] {
            assert!(Template::read(wrong).is_err(), "{wrong}");
        }
        let many = "{a|b}".repeat(20);
        assert!(
            Template::read(&format!("{{x{many}|y}}"))
                .and_then(|read| read.wildcards().map(drop))
                .is_err()
        );
    }

    #[test]
    fn escaped_texts_are_read_as_they_are() {
        for text in ["{a|b}", "\\{", "{a|{b|c}", "\\\\{|}", "a \\| b"] {
            assert_eq!(texts(&escape(text)), [text], "{text}");
        }
        assert_eq!(texts("\\{a\\|b\\} {c|d}"), ["{a|b} c", "{a|b} d"]);
    }

    #[test]
    fn the_seed_draws_and_the_recipe_records_it() {
        let read = |seed: u64| {
            let text = format!(
                "prompts: ['a {{red|blue|green}} {{car|boat}}', '\\{{x|y\\}}']\nseed: {seed}\n"
            );
            Recipe::parse(&text, "r.yaml", Path::new("")).expect("a recipe")
        };
        let drawn: std::collections::HashSet<_> = (0..40)
            .map(|seed| read(seed).prompts[0].text.clone())
            .collect();
        assert_eq!(drawn.len(), 6);
        let recipe = read(7);
        assert_eq!(recipe.prompts[1].text.as_deref(), Some("{x|y}"));
        let again = Recipe::parse(&recipe.to_yaml().expect("a text"), "r.yaml", Path::new(""));
        assert_eq!(again.expect("a recipe"), recipe);
        let mut other = recipe.clone();
        other.set("steps=3").expect("a change");
        assert_eq!(other.prompts, recipe.prompts);
        let error =
            Recipe::parse("prompts: 'a {b|c'\n", "r.yaml", Path::new("")).expect_err("an error");
        assert!(error.to_string().contains("no closing brace"), "{error}");
    }
}
