//! What drawings a prompt asks for: the spans of its words that name drawings, their colours and numbers, and the ground.

use super::bank::{Bank, Kind};
use super::colors::Color;

/// The largest number of drawings that one prompt places.
const MOST: usize = 4;
/// So many words of a prompt are read: about as many as a CLIP reads of it.
const WORDS: usize = 77;
/// The longest name in words.
const LONGEST: usize = 4;

/// Words between things.
const PREPOSITIONS: &[&str] = &[
    "in",
    "on",
    "at",
    "over",
    "under",
    "above",
    "below",
    "behind",
    "before",
    "beside",
    "near",
    "by",
    "with",
    "against",
    "across",
    "along",
    "among",
    "between",
    "into",
    "inside",
    "through",
    "around",
    "of",
    "from",
    "to",
    "next",
    "front",
    "top",
    "for",
    "like",
    "and",
    "or",
    "atop",
    "beneath",
    "underneath",
];
/// Prepositions between two things of which the first is the upper one.
const UPPER: &[&str] = &["on", "over", "above", "atop"];
/// Prepositions between two things of which the first is the lower one.
const LOWER: &[&str] = &["under", "below", "beneath", "underneath"];
/// Words that are part of no name, and end none.
const PASSED: &[&str] = &[
    "a", "an", "the", "some", "his", "her", "its", "their", "my", "your", "this", "that",
];
/// What follows is not wanted.
const NEGATIONS: &[&str] = &[
    "no", "not", "without", "never", "neither", "nor", "don't", "instead",
];
/// Styles and media, which are about how a picture is made instead of what it shows.
const STYLES: &[&str] = &[
    "painting",
    "watercolor",
    "watercolour",
    "oil",
    "sketch",
    "drawing",
    "portrait",
    "photo",
    "photograph",
    "style",
    "art",
    "poster",
    "print",
    "illustration",
    "render",
    "rendering",
    "icon",
    "logo",
    "cartoon",
    "pixel",
    "pencil",
    "ink",
    "charcoal",
    "pastel",
    "crayon",
    "chalk",
    "acrylic",
    "gouache",
    "fresco",
    "mosaic",
    "collage",
    "engraving",
    "woodcut",
    "etching",
    "lithograph",
    "stencil",
    "graffiti",
    "sculpture",
    "statue",
    "still",
    "life",
    "abstract",
    "impressionist",
    "cubist",
    "surreal",
    "baroque",
    "vintage",
    "minimalist",
    "detailed",
    "beautiful",
    "closeup",
    "picture",
    "image",
    "view",
    "scene",
    "landscape",
    "wallpaper",
    "texture",
    "pattern",
    "storm",
    "stormy",
    "fog",
    "foggy",
    "mist",
    "misty",
    "light",
    "dark",
    "sunlight",
    "moonlight",
    "shadow",
    "glow",
    "neon",
    "bokeh",
    "3d",
    "4k",
    "8k",
    "hd",
];
/// Words for the ground that a colour word may stand before.
const GROUNDS: &[&str] = &[
    "background",
    "backdrop",
    "ground",
    "wall",
    "sky",
    "field",
    "grass",
    "meadow",
    "lawn",
    "sea",
    "ocean",
    "water",
    "lake",
    "sand",
    "snow",
    "floor",
    "table",
    "tablecloth",
    "carpet",
    "hill",
    "hills",
    "surface",
    "cloth",
    "paper",
    "plate",
];
/// Grounds that are drawn as things even where they have a colour, because they do not fill a picture.
const SMALL_GROUNDS: &[&str] = &["table", "plate"];
/// Words after `orange`, or another colour that is a fruit too, which leave it the fruit.
const PARTS_AND_VERBS: &[&str] = &[
    "is", "sits", "lies", "hangs", "falls", "slice", "slices", "half", "peel", "juice",
];
/// Numbers of drawings.
const NUMBERS: &[(&str, usize)] = &[
    ("two", 2),
    ("three", 3),
    ("four", 4),
    ("pair", 2),
    ("couple", 2),
    ("2", 2),
    ("3", 3),
    ("4", 4),
];

/// What a prompt asks the bank for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The things, in the order of the words; as many entries as drawings, at most four.
    pub things: Vec<Wanted>,
    /// The scene behind them, as an entry of the bank.
    pub place: Option<usize>,
    /// The colour that the scene is asked to have: `a green sky`.
    pub place_color: Option<Color>,
    /// The colour behind them.
    pub ground: Option<Color>,
    /// Which of its two things is above the other, where the prompt says so.
    pub stack: Option<Stack>,
}

/// Two things, one above the other, each with its number of drawings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stack {
    /// How many of the drawings are of the thing that is named first; the others are of the second.
    pub first: usize,
    pub upper: Upper,
}

/// Which of two things is above the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Upper {
    /// `a lamp on a table`
    First,
    /// `a cat under a chair`
    Second,
}

/// A drawing that is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wanted {
    /// The entry of the bank.
    pub entry: usize,
    pub color: Option<Color>,
}

impl Request {
    /// Whether the prompt names no drawing.
    pub fn is_empty(&self) -> bool {
        self.things.is_empty() && self.place.is_none()
    }

    /// The entries of the bank that it asks for.
    pub fn entries(&self) -> impl Iterator<Item = usize> {
        let things = self.things.iter().map(|wanted| wanted.entry);
        things.chain(self.place)
    }

    /// Reads a prompt.
    pub fn read(text: &str, bank: &Bank) -> Self {
        let words = words(text);
        let mut request = Self::default();
        let (mut color, mut number, mut is_negated) = (None, 1, false);
        // whether the last name was not wanted: of `no cats or dogs` neither is
        let mut was_negated = false;
        // whether the words since the last preposition follow one
        let mut is_behind = false;
        // how many drawings there are with each thing that is named
        let mut counts = vec![];
        // what the first two things have between them, once the first is read
        let mut between = None;
        let mut at = 0;
        while at < words.len() {
            let word = words[at].as_str();
            let is_passed = STYLES.contains(&word) || PASSED.contains(&word);
            let named = span(&words[at..], bank, color.is_some());
            // `a vase on a red carpet`, not `a mouse under a red carpet`
            let is_colored_ground = GROUNDS.contains(&word)
                && !SMALL_GROUNDS.contains(&word)
                && color.is_some()
                && is_behind
                && !request.things.is_empty()
                && between != Some(Upper::Second);
            // `light bulb` names a thing, `light` alone does not
            if let Some((length, entry)) =
                named.filter(|(length, _)| *length > 1 || !is_passed && !is_colored_ground)
            {
                // `green field` is also a scene
                let color = color
                    .take()
                    .or_else(|| Color::named(word).filter(|_| length > 1));
                request.add(bank, entry, color, number, is_behind, is_negated);
                note(&mut counts, request.things.len());
                was_negated = is_negated;
                (number, is_negated, at) = (1, false, at + length);
            } else if is_passed {
                at += 1;
            } else if NEGATIONS.contains(&word) {
                (is_negated, at) = (true, at + 1);
            } else if PREPOSITIONS.contains(&word) {
                // `a pair of shoes`
                if word != "of" {
                    (color, number) = (None, 1);
                }
                is_behind |= !matches!(word, "of" | "and" | "with" | "or");
                is_negated |= was_negated && word == "or";
                if counts.len() == 1 {
                    between = if UPPER.contains(&word) {
                        Some(Upper::First)
                    } else if LOWER.contains(&word) {
                        Some(Upper::Second)
                    } else {
                        // `on top of` is `on`
                        between.filter(|_| matches!(word, "top" | "of"))
                    };
                }
                at += 1;
            } else if let Some((_, found)) = NUMBERS.iter().find(|(name, _)| *name == word) {
                (number, at) = (*found, at + 1);
            } else if let Some(found) = Color::named(word) {
                // of `red and white` the first counts
                color = color.or(Some(found));
                at += if adds_a_color(&words[at + 1..]) { 3 } else { 1 };
            } else if GROUNDS.contains(&word) {
                if !is_negated {
                    request.ground = request.ground.or(color);
                }
                (color, number, is_negated, at) = (None, 1, false, at + 1);
            } else {
                let is_head = words.get(at + 1).is_none_or(|next| ends_a_name(next));
                if is_head && word.len() > 2 {
                    if let Some(entry) = bank.alike(word) {
                        request.add(bank, entry, color, number, is_behind, is_negated);
                        note(&mut counts, request.things.len());
                    }
                    // `not wearing a hat`
                    is_negated &= word.ends_with("ing");
                    (color, number) = (None, 1);
                }
                at += 1;
            }
        }
        if request.things.is_empty() && request.place.is_none() {
            request.ground = None;
        }
        request.stack = match (between, counts.as_slice()) {
            (Some(upper), [first, _]) => Some(Stack {
                first: *first,
                upper,
            }),
            _ => None,
        };
        request
    }

    /// Adds what another prompt asks for, as far as there is room.
    pub fn extend(&mut self, other: &Self) {
        let room = MOST.saturating_sub(self.things.len());
        if other.things.is_empty() || room == 0 {
            // the first two stay
        } else if self.things.is_empty() {
            self.stack = other.stack;
        } else {
            self.stack = None;
        }
        self.things.extend(other.things.iter().take(room));
        if self.place.is_none() {
            (self.place, self.place_color) = (other.place, other.place_color);
        }
        self.ground = self.ground.or(other.ground);
    }

    fn add(
        &mut self,
        bank: &Bank,
        entry: usize,
        color: Option<Color>,
        number: usize,
        is_behind: bool,
        is_negated: bool,
    ) {
        if is_negated {
            return;
        }
        match bank.entries()[entry].kind {
            Kind::Place => {
                // `a green field` is a colour more than a scene
                if color.is_some() && (is_behind || !self.things.is_empty()) {
                    self.ground = self.ground.or(color);
                } else if self.place.is_none() {
                    (self.place, self.place_color) = (Some(entry), color);
                }
            }
            Kind::Thing => {
                let room = MOST.saturating_sub(self.things.len());
                let wanted = Wanted { entry, color };
                self.things
                    .extend(std::iter::repeat_n(wanted, number.min(room)));
            }
        }
    }
}

/// Notes that a thing was named, if it has brought drawings: a scene, or what is not wanted, brings none.
fn note(counts: &mut Vec<usize>, drawings: usize) {
    if counts.last().copied().unwrap_or(0) < drawings {
        counts.push(drawings);
    }
}

/// The words of a text in lower case, without what follows `in the style of`.
fn words(text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let text = text.split("in the style of").next().unwrap_or_default();
    text.split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '’')
        .map(|word| word.trim_end_matches("'s").trim_end_matches("’s"))
        .map(|word| word.trim_matches(['\'', '’']).to_owned())
        .filter(|word| !word.is_empty())
        .take(WORDS)
        .collect()
}

/// Whether a name ends before this word.
fn ends_a_name(word: &str) -> bool {
    PREPOSITIONS.contains(&word) || PASSED.contains(&word)
}

/// Whether these words, after a colour, add a second one: `and white`.
fn adds_a_color(words: &[String]) -> bool {
    matches!(words, [and, color, ..] if and == "and" && Color::named(color).is_some())
}

/// Whether a colour word before these words describes what they name: in `an orange typewriter` it does, while `an orange hanging from a branch` is
/// the fruit. There is at least one word.
fn describes(words: &[String], bank: &Bank) -> bool {
    let next = words[0].as_str();
    if GROUNDS.contains(&next)
        || span(words, bank, true).is_some()
        || adds_a_color(words)
        || bank.alike(next).is_some()
    {
        return true;
    }
    let is_verb = next.ends_with("ing") || next.ends_with("ed");
    !is_verb && !PARTS_AND_VERBS.contains(&next) && !ends_a_name(next)
}

/// The longest run of words from the first on that names an entry, and its length. After a colour word a colour that is also a thing, an orange,
/// is a thing; without one it is a thing only if no word follows that it may describe.
fn span(words: &[String], bank: &Bank, has_color: bool) -> Option<(usize, usize)> {
    let longest = (1..=LONGEST.min(words.len())).rev();
    let found =
        longest.filter_map(|length| Some((length, bank.named(&words[..length].join(" "))?)));
    let (length, entry) = { found }.next()?;
    let is_color = length == 1 && Color::named(&words[0]).is_some() && !has_color;
    if is_color && words.len() > 1 && describes(&words[1..], bank) {
        return None;
    }
    Some((length, entry))
}

#[cfg(test)]
mod tests;
