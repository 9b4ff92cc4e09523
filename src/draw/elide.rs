//! Breaks a text into lines of a width, and elides the middle of a text that is too long.
//!
//! Prompts often begin alike ("an oil painting of ..."), so the middle is left out instead of the end, and prompts that would still look
//! alike show the place where they differ.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

use super::{Fonts, Style};

const ELLIPSIS: &str = "…";
/// The share of an elided line that the text's beginning takes; the rest is for its end.
const HEAD: f32 = 0.55;
/// The same in a line that shows where two texts differ.
const SHORT_HEAD: f32 = 0.25;

/// At most this many places are tried until prompts look different.
const MOST_PLACES: usize = 3;

/// A line: parts of the text, with an ellipsis between two of them, and where a part does not reach the text's end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The parts, in order, as ranges of bytes in the text.
    parts: Vec<Range<usize>>,
    /// Whether an ellipsis follows the last part.
    cut: bool,
}

impl Line {
    /// The line as it is drawn, of the text that it was made from.
    pub fn display(&self, text: &str) -> String {
        let parts: Vec<&str> = self.parts.iter().map(|part| &text[part.clone()]).collect();
        let mut line = parts.join(ELLIPSIS);
        if self.cut {
            line.push_str(ELLIPSIS);
        }
        line
    }

    /// Whether it can be a line of this text, which may have changed since the line was made.
    pub fn fits(&self, text: &str) -> bool {
        (self.parts.iter()).all(|part| text.get(part.clone()).is_some())
    }

    /// The end of its first part.
    fn head(&self) -> usize {
        self.parts.first().map_or(0, |part| part.end)
    }

    /// Whether it shows a range of the text.
    fn shows(&self, range: &Range<usize>) -> bool {
        (self.parts.iter()).any(|part| part.start <= range.start && range.end <= part.end)
    }

    /// The offset in the text that belongs to an offset in the line as it is drawn.
    pub fn offset(&self, displayed: usize) -> usize {
        let mut before = 0;
        for part in &self.parts {
            if displayed <= before + part.len() {
                return part.start + displayed.saturating_sub(before);
            }
            before += part.len() + ELLIPSIS.len();
        }
        self.parts.last().map_or(0, |part| part.end)
    }
}

/// A text in at most `most` lines of `room` pixels; the middle of a longer text is left out.
pub fn lines(fonts: &Fonts, text: &str, style: Style, room: f32, most: usize) -> Vec<Line> {
    break_lines(fonts, text, style, room, most, None)
}

/// A text on one line of `room` pixels; the middle of a longer text is left out.
pub fn middle(fonts: &Fonts, text: &str, style: Style, room: f32) -> String {
    let text = one_line(text);
    (lines(fonts, &text, style, room, 1).first())
        .map(|line| line.display(&text))
        .unwrap_or_default()
}

/// A text with spaces in place of line breaks and tabs, which have no shape.
pub fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\t'], " ")
}

/// Several texts, each with its number of lines and their room in pixels: texts that would look alike show where they differ. A text with
/// no lines is not shown, but the others are made to look different from it.
pub fn distinguished(fonts: &Fonts, texts: &[(&str, usize, f32)], style: Style) -> Vec<Vec<Line>> {
    let mut all: Vec<Vec<Line>> = (texts.iter())
        .map(|(text, most, room)| lines(fonts, text, style, *room, *most))
        .collect();
    let showing = || texts.iter().enumerate().filter(|(_, text)| text.1 > 0);
    for (index, (text, most, room)) in showing() {
        // a text that begins like others shows where it differs first
        let lines = &all[index];
        let head = lines.first().map_or(0, Line::head);
        let place = (texts.iter())
            .filter_map(|(other, ..)| difference(text, other))
            .filter(|word| word.start >= head && !lines.iter().any(|line| line.shows(word)))
            .map(|word| word.start)
            .min();
        if place.is_some() {
            all[index] = break_lines(fonts, text, style, *room, *most, place);
        }
    }
    // of three or more texts some may still look alike: try the next place
    for _ in 0..MOST_PLACES {
        let looks: Vec<Vec<String>> = (texts.iter().zip(&all))
            .map(|((text, ..), lines)| lines.iter().map(|line| line.display(text)).collect())
            .collect();
        let mut alike = false;
        for (index, (text, most, room)) in showing() {
            let place = (0..texts.len())
                .filter(|other| looks[*other] == looks[index])
                .filter_map(|other| difference(text, texts[other].0))
                .map(|word| word.start)
                .min();
            if place.is_some() {
                all[index] = break_lines(fonts, text, style, *room, *most, place);
                alike = true;
            }
        }
        if !alike {
            break;
        }
    }
    all
}

/// The first word of a text that differs from another text.
fn difference(text: &str, other: &str) -> Option<Range<usize>> {
    if text == other {
        return None;
    }
    let common = (text.char_indices().zip(other.chars()))
        .find(|((_, a), b)| a != b)
        .map_or(text.len().min(other.len()), |((offset, _), _)| offset);
    let start = (text[..common])
        .trim_end_matches(|c: char| !c.is_whitespace())
        .len();
    let end = (text[common..].find(char::is_whitespace)).map_or(text.len(), |end| common + end);
    Some(start..end)
}

fn break_lines(
    fonts: &Fonts,
    text: &str,
    style: Style,
    room: f32,
    most: usize,
    show: Option<usize>,
) -> Vec<Line> {
    let positions = Positions(fonts.positions(text, style));
    let ellipsis = fonts.width(ELLIPSIS, style);
    let mut lines: Vec<Line> = vec![];
    let mut rest = trimmed(text, 0..text.len());
    while !rest.is_empty() && lines.len() + 1 < most {
        if positions.width(&rest) <= room {
            break;
        }
        let end = broken(text, &positions, &rest, room);
        lines.push(whole(trimmed(text, rest.start..end)));
        rest = trimmed(text, end..rest.end);
    }
    if !rest.is_empty() && most > 0 {
        lines.push(if positions.width(&rest) <= room {
            whole(rest)
        } else {
            elided(text, &positions, rest, room, ellipsis, show)
        });
    }
    lines
}

/// Where each character begins in pixels, and the end.
struct Positions(Vec<(usize, f32)>);

impl Positions {
    fn at(&self, offset: usize) -> f32 {
        let index = self.0.partition_point(|place| place.0 <= offset);
        self.0[index.saturating_sub(1)].1
    }

    fn width(&self, range: &Range<usize>) -> f32 {
        self.at(range.end) - self.at(range.start)
    }

    /// The end of the characters from an offset on that fit.
    fn forth(&self, from: usize, room: f32) -> usize {
        let end = self.at(from) + room;
        let index = self.0.partition_point(|place| place.1 <= end);
        self.0[index.saturating_sub(1)].0.max(from)
    }

    /// The beginning of the characters up to an offset that fit.
    fn back(&self, to: usize, room: f32) -> usize {
        let start = self.at(to) - room;
        let index = self.0.partition_point(|place| place.1 < start);
        self.0.get(index).map_or(to, |place| place.0).min(to)
    }
}

fn whole(part: Range<usize>) -> Line {
    Line {
        parts: vec![part],
        cut: false,
    }
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_start().len());
    let end = range.end - (part.len() - part.trim_end().len());
    start..end.max(start)
}

/// Where a line that begins a range ends: after the last word that fits, or within a word that is longer than a line.
fn broken(text: &str, positions: &Positions, rest: &Range<usize>, room: f32) -> usize {
    let fits = positions.forth(rest.start, room);
    let part = &text[rest.clone()];
    let word = (part.split_word_bound_indices())
        .filter(|(_, word)| word.trim().is_empty())
        .map(|(start, _)| rest.start + start)
        .take_while(|start| *start <= fits)
        .last();
    let first = (part.graphemes(true).next()).map_or(rest.end, |first| rest.start + first.len());
    word.unwrap_or(fits).max(first)
}

/// The end of the last whole word before an offset, unless that is far from it.
fn to_word(text: &str, start: usize, end: usize) -> usize {
    let part = &text[start..end];
    let is_whole = text[end..].starts_with(char::is_whitespace) || end == text.len();
    match part.rfind(char::is_whitespace) {
        Some(space) if !is_whole && 2 * space > part.len() => start + space,
        _ => end,
    }
}

/// The beginning of the first whole word after an offset, unless that is far from it.
fn from_word(text: &str, start: usize, end: usize) -> usize {
    let part = &text[start..end];
    let is_whole = text[..start].ends_with(char::is_whitespace) || start == 0;
    match part.find(char::is_whitespace) {
        Some(space) if !is_whole && 2 * space < part.len() => start + space,
        _ => start,
    }
}

/// The beginning of a range and its end, or the place to show, in one line.
fn elided(
    text: &str,
    positions: &Positions,
    range: Range<usize>,
    room: f32,
    ellipsis: f32,
    show: Option<usize>,
) -> Line {
    let show = show.filter(|show| range.contains(show));
    let (share, ellipses) = if show.is_some() {
        (SHORT_HEAD, 2.0)
    } else {
        (HEAD, 1.0)
    };
    let room = (room - ellipses * ellipsis).max(0.0);
    let head = positions.forth(range.start, room * share).min(range.end);
    let head = trimmed(text, range.start..to_word(text, range.start, head));
    let left = room - positions.width(&head);
    let tail = match show {
        // otherwise the place is visible in the beginning or in the end
        Some(show) if show > head.end && positions.at(range.end) - positions.at(show) > left => {
            show..positions.forth(show, left).min(range.end)
        }
        _ => {
            let start = positions.back(range.end, left).max(head.end);
            from_word(text, start, range.end)..range.end
        }
    };
    let tail = trimmed(text, tail);
    // a part may be empty; the ellipsis then still shows that there is more
    let cut = tail.end < range.end || tail.is_empty();
    let tail = (!tail.is_empty()).then_some(tail);
    Line {
        parts: std::iter::once(head).chain(tail).collect(),
        cut,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Weight;
    use super::*;

    const STYLE: Style = Style {
        size: 15.0,
        weight: Weight::Regular,
    };

    fn fonts() -> Fonts {
        Fonts::embedded().expect("the fonts")
    }

    fn shown(text: &str, room: f32, most: usize) -> Vec<String> {
        (lines(&fonts(), text, STYLE, room, most).iter())
            .map(|line| line.display(text))
            .collect()
    }

    fn apart(texts: &[&str], room: f32, most: usize) -> Vec<String> {
        let texts: Vec<_> = texts.iter().map(|text| (*text, most, room)).collect();
        (distinguished(&fonts(), &texts, STYLE).iter().zip(&texts))
            .map(|(lines, (text, ..))| {
                let lines: Vec<String> = lines.iter().map(|line| line.display(text)).collect();
                lines.join("\n")
            })
            .collect()
    }

    #[test]
    fn a_text_that_fits_is_whole() {
        assert_eq!(shown("a cat", 200.0, 2), ["a cat"]);
        assert_eq!(shown("  a cat ", 200.0, 1), ["a cat"]);
        assert_eq!(shown("", 200.0, 2), [""; 0]);
    }

    #[test]
    fn the_middle_is_left_out() {
        let text = "an oil painting of a sunset over wheat fields";
        let line = &shown(text, 200.0, 1)[0];
        assert!(
            line.starts_with("an oil") && line.ends_with("fields"),
            "{line}"
        );
        assert_eq!(line.matches('…').count(), 1);
    }

    #[test]
    fn lines_break_between_words_and_the_last_one_leaves_the_middle_out() {
        let text = "an oil painting of a sunset over wheat fields in the summer of another year";
        let lines = shown(text, 200.0, 2);
        assert_eq!(lines.len(), 2);
        assert!(
            text.starts_with(&lines[0]) && !lines[0].contains('…'),
            "{lines:?}"
        );
        assert!(lines[1].ends_with("year"), "{lines:?}");
    }

    #[test]
    fn lines_are_broken_between_words() {
        let text = "the picture was saved as it is now";
        let lines = shown(text, 120.0, 9);
        assert!(lines.len() > 1, "{lines:?}");
        let fonts = fonts();
        assert!(lines.iter().all(|line| fonts.width(line, STYLE) <= 120.0));
        assert_eq!(lines.join(" "), text);
        let lines = shown(text, 120.0, 1);
        assert!(lines.len() == 1 && lines[0].contains('…'), "{lines:?}");
    }

    #[test]
    fn a_word_longer_than_a_line_is_broken() {
        let lines = shown("Donaudampfschifffahrtsgesellschaft", 100.0, 9);
        assert!(lines.len() > 2, "{lines:?}");
        assert_eq!(lines.concat(), "Donaudampfschifffahrtsgesellschaft");
    }

    #[test]
    fn prompts_that_begin_alike_are_distinguished() {
        let texts = [
            "an oil painting of a lighthouse at dusk by the northern sea",
            "an oil painting of a lighthouse at dusk by the southern sea, calm",
        ];
        for most in [1, 2] {
            let lines = apart(&texts, 180.0, most);
            assert!(lines[0].contains("northern"), "{lines:?}");
            assert!(lines[1].contains("southern"), "{lines:?}");
        }
    }

    #[test]
    fn prompts_that_begin_and_end_alike_show_where_they_differ() {
        let texts = [
            "an oil painting of a very old lighthouse in the storm, highly detailed, dramatic light",
            "an oil painting of a very old sailing ship in the storm, highly detailed, dramatic light",
        ];
        let lines = apart(&texts, 200.0, 1);
        assert!(
            lines[0].contains("lighth") && lines[1].contains("sail"),
            "{lines:?}"
        );
        let one = distinguished(
            &fonts(),
            &[(texts[0], 0, 200.0), (texts[1], 1, 200.0)],
            STYLE,
        );
        assert!(one[0].is_empty() && one[1][0].display(texts[1]) == lines[1]);
        // of three, two of which differ later
        let other = texts[0].replace("storm", "summer");
        let lines = apart(&[texts[0], &other, texts[1]], 200.0, 1);
        let different: std::collections::BTreeSet<_> = lines.iter().collect();
        assert_eq!(different.len(), 3, "{lines:?}");
        // a third that differs from the start is not elided
        let lines = apart(&[texts[0], texts[1], "a cat"], 200.0, 1);
        assert_eq!(lines[2], "a cat");
    }

    #[test]
    fn equal_prompts_look_alike() {
        let text = "an oil painting of a sunset over wheat fields";
        let lines = apart(&[text, text], 150.0, 1);
        assert_eq!(lines[0], lines[1]);
    }

    proptest! {
        #[test]
        fn lines_fit_and_their_offsets_lie_in_the_text(
            text in "[a-z é日🙂👩‍👩‍👧\u{301}…]{0,80}",
            room in 0.0f32..300.0,
            most in 0usize..4,
            show in proptest::option::of(0usize..200),
        ) {
            let fonts = fonts();
            let show = show.map(|show| {
                (text.char_indices().map(|place| place.0).take_while(|place| *place <= show).last())
                    .unwrap_or(0)
            });
            let lines = break_lines(&fonts, &text, STYLE, room, most, show);
            prop_assert!(lines.len() <= most);
            for line in &lines {
                let shown = line.display(&text);
                if room > 60.0 {
                    prop_assert!(fonts.width(&shown, STYLE) <= room + 0.01, "{shown:?}");
                }
                let mut last = 0;
                for (offset, _) in shown.char_indices() {
                    let offset = line.offset(offset);
                    prop_assert!(offset >= last && offset <= text.len());
                    last = offset;
                }
                prop_assert_eq!(line.offset(0), line.parts.first().map_or(0, |part| part.start));
            }
            // without an ellipsis only white space is left out
            if lines.iter().all(|line| line.parts.len() == 1 && !line.cut) && most > 0 {
                let shown: String = lines.iter().flat_map(|line| line.display(&text).chars().collect::<Vec<_>>()).filter(|c| !c.is_whitespace()).collect();
                let all: String = text.chars().filter(|c| !c.is_whitespace()).collect();
                prop_assert_eq!(shown, all);
            }
        }
    }
}
