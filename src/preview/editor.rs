//! A line of text that is edited: the model alone, without keys and pixels.

use std::ops::Range;

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

/// Longest text in bytes. CLIP reads some seventy words; more is a paste gone wrong.
pub const LONGEST: usize = 4096;
/// So many states are kept to go back to.
const UNDOS: usize = 100;

/// A single line of text with a caret and a selection.
///
/// Offsets are in bytes and lie between graphemes, what a person takes for one character: `e` with an accent, a flag, a
/// family. Line breaks that come in by a paste become spaces; other control characters are dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Editor {
    text: String,
    caret: usize,
    anchor: usize,
    undos: Vec<(String, usize)>,
    typing: bool,
}

impl Editor {
    /// A text with the caret at its end.
    pub fn new(text: &str) -> Self {
        let text = cut_to(&cleaned(text), LONGEST).to_owned();
        let end = text.len();
        Self {
            text,
            caret: end,
            anchor: end,
            undos: vec![],
            typing: false,
        }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where the caret is.
    pub fn caret(&self) -> usize {
        self.caret
    }

    /// What is selected; empty where nothing is.
    pub fn selection(&self) -> Range<usize> {
        self.caret.min(self.anchor)..self.caret.max(self.anchor)
    }

    /// The selected text.
    pub fn selected(&self) -> &str {
        &self.text[self.selection()]
    }

    /// Puts a text in place of the selection, as far as there is room for it.
    pub fn insert(&mut self, text: &str) {
        let text = cleaned(text);
        let selection = self.selection();
        let room = LONGEST - (self.text.len() - selection.len());
        let text = cut_to(&text, room);
        if text.is_empty() && selection.is_empty() {
            return;
        }
        // a word that is typed is taken back as one
        let alone = text.chars().count() == 1 && selection.is_empty();
        self.remember(alone && text != " ");
        self.replace(selection, text);
    }

    /// Removes the selection, or the character before the caret.
    pub fn backspace(&mut self) {
        self.remove_to(self.before(self.caret));
    }

    /// Removes the selection, or the character after the caret.
    pub fn delete(&mut self) {
        self.remove_to(self.after(self.caret));
    }

    /// Removes the selection, or what is between the caret and the beginning of the word.
    pub fn delete_word_left(&mut self) {
        self.remove_to(self.word_before(self.caret));
    }

    /// Removes the selection, or what is between the caret and the end of the word.
    pub fn delete_word_right(&mut self) {
        self.remove_to(self.word_after(self.caret));
    }

    /// Removes the selection, or all that is before the caret.
    pub fn delete_to_start(&mut self) {
        self.remove_to(0);
    }

    /// Removes the selection, or all that is after the caret.
    pub fn delete_to_end(&mut self) {
        self.remove_to(self.text.len());
    }

    /// Moves the caret a character to the left; a selection that is not extended collapses to its left end.
    pub fn left(&mut self, select: bool) {
        let to = match self.selection() {
            selection if !selection.is_empty() && !select => selection.start,
            _ => self.before(self.caret),
        };
        self.move_to(to, select);
    }

    /// Moves the caret a character to the right; a selection that is not extended collapses to its right end.
    pub fn right(&mut self, select: bool) {
        let to = match self.selection() {
            selection if !selection.is_empty() && !select => selection.end,
            _ => self.after(self.caret),
        };
        self.move_to(to, select);
    }

    /// Moves the caret to the beginning of the word.
    pub fn word_left(&mut self, select: bool) {
        self.move_to(self.word_before(self.caret), select);
    }

    /// Moves the caret to the end of the word.
    pub fn word_right(&mut self, select: bool) {
        self.move_to(self.word_after(self.caret), select);
    }

    /// Moves the caret to the beginning of the text.
    pub fn home(&mut self, select: bool) {
        self.move_to(0, select);
    }

    /// Moves the caret to the end of the text.
    pub fn end(&mut self, select: bool) {
        self.move_to(self.text.len(), select);
    }

    /// Selects all of the text.
    pub fn select_all(&mut self) {
        self.move_to(0, false);
        self.move_to(self.text.len(), true);
    }

    /// Selects the word at an offset, or what is between two words there.
    pub fn select_word(&mut self, offset: usize) {
        let offset = self.snapped(offset);
        let word = (self.text.split_word_bound_indices())
            .map(|(start, word)| start..start + word.len())
            .find(|word| word.contains(&offset) || word.end == self.text.len())
            .unwrap_or(0..0);
        self.move_to(word.start, false);
        self.move_to(word.end, true);
    }

    /// Moves the caret to an offset, or the nearest one between two characters after it.
    pub fn place(&mut self, offset: usize, select: bool) {
        self.move_to(offset, select);
    }

    /// Takes the last change back.
    pub fn undo(&mut self) {
        if let Some((text, caret)) = self.undos.pop() {
            self.text = text;
            self.caret = caret;
            self.anchor = caret;
        }
        self.typing = false;
    }

    /// Moves the caret to an offset, or the nearest one between two characters after it.
    fn move_to(&mut self, offset: usize, select: bool) {
        let offset = self.snapped(offset);
        self.caret = offset;
        if !select {
            self.anchor = offset;
        }
        self.typing = false;
    }

    /// Removes the selection, or what is between the caret and an offset.
    fn remove_to(&mut self, offset: usize) {
        let range = match self.selection() {
            selection if selection.is_empty() => self.caret.min(offset)..self.caret.max(offset),
            selection => selection,
        };
        if !range.is_empty() {
            self.remember(false);
            self.replace(range, "");
        }
    }

    fn replace(&mut self, range: Range<usize>, text: &str) {
        let end = range.start + text.len();
        self.text.replace_range(range, text);
        // an accent joins the letter before it, and may join the one after it
        self.caret = self.snapped(end);
        self.anchor = self.caret;
    }

    fn remember(&mut self, typing: bool) {
        if !(typing && self.typing) {
            if self.undos.len() == UNDOS {
                self.undos.remove(0);
            }
            self.undos.push((self.text.clone(), self.caret));
        }
        self.typing = typing;
    }

    /// The nearest offset between two characters that is not before this one.
    fn snapped(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset += 1;
        }
        let mut cursor = GraphemeCursor::new(offset, self.text.len(), true);
        match cursor.is_boundary(&self.text, 0) {
            Ok(false) => self.after(offset),
            _ => offset,
        }
    }

    fn before(&self, offset: usize) -> usize {
        GraphemeCursor::new(offset, self.text.len(), true)
            .prev_boundary(&self.text, 0)
            .ok()
            .flatten()
            .unwrap_or(0)
    }

    fn after(&self, offset: usize) -> usize {
        GraphemeCursor::new(offset, self.text.len(), true)
            .next_boundary(&self.text, 0)
            .ok()
            .flatten()
            .unwrap_or(self.text.len())
    }

    fn word_before(&self, offset: usize) -> usize {
        (self.text.unicode_word_indices())
            .map(|(start, _)| start)
            .take_while(|start| *start < offset)
            .last()
            .map_or(0, |start| self.snapped(start))
    }

    fn word_after(&self, offset: usize) -> usize {
        (self.text.unicode_word_indices())
            .map(|(start, word)| start + word.len())
            .find(|end| *end > offset)
            .map_or(self.text.len(), |end| self.snapped(end))
    }
}

/// How far a line is to be moved to the left so that its caret shows, given how far it was. All in pixels.
///
/// `room` is the width that shows; the caret keeps some of the text around it in sight.
pub fn scrolled(before: f32, caret: f32, width: f32, room: f32) -> f32 {
    let margin = (room * 0.1).min(24.0);
    let most = (width - room).max(0.0);
    let shows_left = (caret - margin).max(0.0);
    let shows_right = caret + margin - room;
    before
        .clamp(shows_right.min(shows_left), shows_left)
        .clamp(0.0, most)
}

/// Without control characters; line breaks and tabs become spaces.
fn cleaned(text: &str) -> String {
    (text.replace("\r\n", "\n").chars())
        .filter_map(|c| match c {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
            // the first of these turns the direction of all that follows, the others are noise
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => None,
            c if c.is_control() => None,
            c => Some(c),
        })
        .collect()
}

/// The graphemes that fit into so many bytes.
fn cut_to(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let end = (text.grapheme_indices(true))
        .map(|(start, grapheme)| start + grapheme.len())
        .take_while(|end| *end <= bytes)
        .last()
        .unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A text with `|` where the caret is, and `[` at the other end of a selection.
    fn editor(marked: &str) -> Editor {
        let text: String = marked.replace(['|', '['], "");
        let offset = |mark: char, other: char| {
            let at = marked.find(mark)?;
            Some(marked[..at].replace(other, "").len())
        };
        let mut editor = Editor::new(&text);
        let caret = offset('|', '[').expect("a caret");
        editor.place(offset('[', '|').unwrap_or(caret), false);
        editor.place(caret, true);
        editor
    }

    fn marked(editor: &Editor) -> String {
        let mut text = editor.text().to_owned();
        let (first, last) = (editor.selection().start, editor.selection().end);
        if first == last {
            text.insert(first, '|');
        } else if editor.caret() == last {
            text.insert(last, '|');
            text.insert(first, '[');
        } else {
            text.insert(last, '[');
            text.insert(first, '|');
        }
        text
    }

    fn after(before: &str, act: impl Fn(&mut Editor)) -> String {
        let mut editor = editor(before);
        act(&mut editor);
        marked(&editor)
    }

    #[test]
    fn a_new_line_has_its_caret_at_the_end() {
        assert_eq!(marked(&Editor::new("a cat")), "a cat|");
    }

    #[test]
    fn typing_goes_in_at_the_caret() {
        assert_eq!(after("a |cat", |line| line.insert("red ")), "a red |cat");
    }

    #[test]
    fn typing_replaces_the_selection() {
        assert_eq!(
            after("a [red| cat", |line| line.insert("blue")),
            "a blue| cat"
        );
        assert_eq!(after("a |red[ cat", |line| line.insert("")), "a | cat");
    }

    #[test]
    fn backspace_removes_what_is_before() {
        assert_eq!(after("ab|c", Editor::backspace), "a|c");
        assert_eq!(after("|abc", Editor::backspace), "|abc");
        assert_eq!(after("a[b|c", Editor::backspace), "a|c");
    }

    #[test]
    fn delete_removes_what_is_after() {
        assert_eq!(after("a|bc", Editor::delete), "a|c");
        assert_eq!(after("abc|", Editor::delete), "abc|");
        assert_eq!(after("a|b[c", Editor::delete), "a|c");
    }

    #[test]
    fn arrows_stop_at_the_ends() {
        assert_eq!(after("|ab", |line| line.left(false)), "|ab");
        assert_eq!(after("ab|", |line| line.right(false)), "ab|");
        assert_eq!(after("a|b", |line| line.left(false)), "|ab");
        assert_eq!(after("a|b", |line| line.right(false)), "ab|");
    }

    #[test]
    fn arrows_leave_a_selection_at_its_end() {
        assert_eq!(after("a[bc|d", |line| line.left(false)), "a|bcd");
        assert_eq!(after("a|bc[d", |line| line.right(false)), "abc|d");
    }

    #[test]
    fn arrows_extend_a_selection() {
        assert_eq!(after("ab|c", |line| line.left(true)), "a|b[c");
        assert_eq!(after("a|b[c", |line| line.right(true)), "ab|c");
        assert_eq!(after("ab|c", |line| line.home(true)), "|ab[c");
        assert_eq!(after("ab|c", |line| line.end(true)), "ab[c|");
    }

    #[test]
    fn home_and_end() {
        assert_eq!(after("ab|c", |line| line.home(false)), "|abc");
        assert_eq!(after("a|bc", |line| line.end(false)), "abc|");
    }

    #[test]
    fn words_are_jumped_over() {
        assert_eq!(
            after("a red, old cat|", |line| line.word_left(false)),
            "a red, old |cat"
        );
        assert_eq!(
            after("a red, |old cat", |line| line.word_left(false)),
            "a |red, old cat"
        );
        assert_eq!(
            after("a| red, old", |line| line.word_right(false)),
            "a red|, old"
        );
        assert_eq!(
            after("a red|, old", |line| line.word_right(false)),
            "a red, old|"
        );
        assert_eq!(after("  |", |line| line.word_left(false)), "|  ");
        assert_eq!(after("|...", |line| line.word_right(false)), "...|");
    }

    #[test]
    fn words_are_removed() {
        assert_eq!(after("a red cat|", Editor::delete_word_left), "a red |");
        assert_eq!(after("a r|ed cat", Editor::delete_word_left), "a |ed cat");
        assert_eq!(after("a| red cat", Editor::delete_word_right), "a| cat");
        assert_eq!(after("a [red| cat", Editor::delete_word_left), "a | cat");
    }

    #[test]
    fn the_rest_of_the_line_is_removed() {
        assert_eq!(after("a red| cat", Editor::delete_to_end), "a red|");
        assert_eq!(after("a red| cat", Editor::delete_to_start), "| cat");
    }

    #[test]
    fn a_selected_word_ends_between_characters() {
        // one character to the eye, two words to the standard
        let mut line = Editor::new("\u{11941} ");
        line.select_word(5);
        assert_eq!((line.anchor, line.caret()), (5, 5));
    }

    #[test]
    fn a_word_is_selected() {
        assert_eq!(
            after("a red cat|", |line| line.select_word(3)),
            "a [red| cat"
        );
        assert_eq!(
            after("a red cat|", |line| line.select_word(9)),
            "a red [cat|"
        );
        assert_eq!(after("|", |line| line.select_word(0)), "|");
    }

    #[test]
    fn all_is_selected() {
        let mut line = editor("a| cat");
        line.select_all();
        assert_eq!(
            (marked(&line).as_str(), line.selected()),
            ("[a cat|", "a cat")
        );
    }

    #[test]
    fn what_looks_like_one_character_is_one() {
        // e and an accent, a flag, a family, a thumb with its colour, Devanagari
        for character in ["e\u{301}", "🇫🇷", "👨‍👩‍👧", "👍🏽", "नि"] {
            let mut line = Editor::new(&format!("a{character}b"));
            line.home(false);
            line.right(false);
            line.right(false);
            assert_eq!(line.caret(), 1 + character.len(), "{character}");
            line.backspace();
            assert_eq!(line.text(), "ab");
        }
    }

    #[test]
    fn an_accent_joins_the_letter_before_it() {
        let mut line = editor("caf e|");
        line.insert("\u{301}");
        assert_eq!(line.caret(), line.text().len());
        line.left(false);
        assert_eq!(&line.text()[line.caret()..], "e\u{301}");
        // and a letter that an accent follows takes the caret behind it
        let mut line = editor("|x");
        line.insert("\u{301}");
        line.home(false);
        line.insert("e");
        assert_eq!(line.caret(), "e\u{301}".len());
    }

    #[test]
    fn other_scripts_are_words_too() {
        assert_eq!(
            after("красный кот|", |line| line.word_left(false)),
            "красный |кот"
        );
        assert_eq!(
            after("ein schöner |Äpfel", Editor::delete_word_left),
            "ein |Äpfel"
        );
    }

    #[test]
    fn a_paste_becomes_one_line() {
        let mut line = Editor::default();
        line.insert("a cat\r\non a\tmat\u{7}\u{202e}\0");
        assert_eq!(line.text(), "a cat on a mat");
    }

    #[test]
    fn a_paste_is_bounded() {
        let mut line = Editor::new("x");
        line.insert(&"é".repeat(LONGEST));
        assert_eq!(line.text().len(), LONGEST - 1);
        line.insert("y");
        assert_eq!(line.text().len(), LONGEST);
        line.insert("z");
        assert_eq!(
            (line.text().len(), line.text().ends_with('y')),
            (LONGEST, true)
        );
    }

    #[test]
    fn changes_are_taken_back() {
        let mut line = Editor::new("a cat");
        for c in [" ", "o", "n"] {
            line.insert(c);
        }
        line.delete_word_left();
        assert_eq!(line.text(), "a cat ");
        line.undo();
        assert_eq!(line.text(), "a cat on");
        line.undo();
        assert_eq!(line.text(), "a cat ");
        line.undo();
        assert_eq!(marked(&line), "a cat|");
        line.undo();
        assert_eq!(marked(&line), "a cat|");
    }

    #[test]
    fn a_long_line_moves_so_that_its_caret_shows() {
        // all of it fits
        assert_eq!(scrolled(30.0, 50.0, 80.0, 100.0), 0.0);
        // typing at the end
        assert_eq!(scrolled(0.0, 300.0, 300.0, 100.0), 200.0);
        // a caret in sight moves nothing
        assert_eq!(scrolled(100.0, 150.0, 300.0, 100.0), 100.0);
        // one out of sight comes in with some of the text around it
        assert_eq!(scrolled(100.0, 50.0, 300.0, 100.0), 40.0);
        assert_eq!(scrolled(100.0, 250.0, 300.0, 100.0), 160.0);
        assert_eq!(scrolled(100.0, 0.0, 300.0, 100.0), 0.0);
        // no room at all
        assert!(scrolled(5.0, 10.0, 20.0, 0.0).is_finite());
    }

    #[derive(Clone, Debug)]
    enum Act {
        Insert(String),
        Move(u8, bool),
        Place(usize, bool),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            "(\\PC|[\u{300}\u{200d}\n\u{0}👩🏽🇫🇷e]){0,8}".prop_map(Act::Insert),
            (0u8..15, any::<bool>()).prop_map(|(act, select)| Act::Move(act, select)),
            (0usize..80, any::<bool>()).prop_map(|(offset, select)| Act::Place(offset, select)),
        ]
    }

    fn perform(line: &mut Editor, act: &Act) {
        match act {
            Act::Insert(text) => line.insert(text),
            Act::Place(offset, select) => line.place(*offset, *select),
            Act::Move(0, _) => line.backspace(),
            Act::Move(1, _) => line.delete(),
            Act::Move(2, _) => line.delete_word_left(),
            Act::Move(3, _) => line.delete_word_right(),
            Act::Move(4, _) => line.delete_to_start(),
            Act::Move(5, _) => line.delete_to_end(),
            Act::Move(6, select) => line.left(*select),
            Act::Move(7, select) => line.right(*select),
            Act::Move(8, select) => line.word_left(*select),
            Act::Move(9, select) => line.word_right(*select),
            Act::Move(10, select) => line.home(*select),
            Act::Move(11, select) => line.end(*select),
            Act::Move(12, _) => line.select_all(),
            Act::Move(13, _) => line.select_word(line.caret()),
            Act::Move(_, _) => line.undo(),
        }
    }

    fn between_characters(line: &Editor, offset: usize) -> bool {
        offset == line.text().len()
            || (line.text().grapheme_indices(true)).any(|(start, _)| start == offset)
    }

    proptest! {
        #[test]
        fn the_caret_stays_between_characters(acts in proptest::collection::vec(act(), 0..40)) {
            let mut line = Editor::default();
            for act in &acts {
                perform(&mut line, act);
                prop_assert!(between_characters(&line, line.caret()), "{act:?} in {line:?}");
                prop_assert!(between_characters(&line, line.anchor), "{act:?} in {line:?}");
                prop_assert!(!line.text().chars().any(char::is_control));
            }
        }

        #[test]
        fn all_is_taken_back(text in "\\PC{0,20}", acts in proptest::collection::vec(act(), 0..30)) {
            let mut line = Editor::new(&text);
            let before = line.text().to_owned();
            for act in &acts {
                perform(&mut line, act);
            }
            for _ in 0..acts.len() {
                line.undo();
            }
            prop_assert_eq!(line.text(), before);
        }

        #[test]
        fn an_insert_is_undone_by_as_many_backspaces(text in "[a-zäж ]{1,12}") {
            let mut line = editor("left |right");
            line.insert(&text);
            for _ in text.graphemes(true) {
                line.backspace();
            }
            prop_assert_eq!(marked(&line), "left |right");
        }

        #[test]
        fn the_caret_shows(before in 0f32..500.0, caret in 0f32..500.0, more in 0f32..500.0, room in 1f32..300.0) {
            let width = caret + more;
            let offset = scrolled(before, caret, width, room);
            prop_assert!(offset >= 0.0 && caret >= offset - 0.01 && caret <= offset + room + 0.01);
        }
    }
}
