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
    assert_eq!(after("ab|c", |line| line.delete(Motion::Left)), "a|c");
    assert_eq!(after("|abc", |line| line.delete(Motion::Left)), "|abc");
    assert_eq!(after("a[b|c", |line| line.delete(Motion::Left)), "a|c");
}

#[test]
fn delete_removes_what_is_after() {
    assert_eq!(after("a|bc", |line| line.delete(Motion::Right)), "a|c");
    assert_eq!(after("abc|", |line| line.delete(Motion::Right)), "abc|");
    assert_eq!(after("a|b[c", |line| line.delete(Motion::Right)), "a|c");
}

#[test]
fn arrows_stop_at_the_ends() {
    assert_eq!(after("|ab", |line| line.go(Motion::Left, false)), "|ab");
    assert_eq!(after("ab|", |line| line.go(Motion::Right, false)), "ab|");
    assert_eq!(after("a|b", |line| line.go(Motion::Left, false)), "|ab");
    assert_eq!(after("a|b", |line| line.go(Motion::Right, false)), "ab|");
}

#[test]
fn arrows_leave_a_selection_at_its_end() {
    assert_eq!(
        after("a[bc|d", |line| line.go(Motion::Left, false)),
        "a|bcd"
    );
    assert_eq!(
        after("a|bc[d", |line| line.go(Motion::Right, false)),
        "abc|d"
    );
}

#[test]
fn arrows_extend_a_selection() {
    assert_eq!(after("ab|c", |line| line.go(Motion::Left, true)), "a|b[c");
    assert_eq!(after("a|b[c", |line| line.go(Motion::Right, true)), "ab|c");
    assert_eq!(after("ab|c", |line| line.go(Motion::Start, true)), "|ab[c");
    assert_eq!(after("ab|c", |line| line.go(Motion::End, true)), "ab[c|");
}

#[test]
fn home_and_end() {
    assert_eq!(after("ab|c", |line| line.go(Motion::Start, false)), "|abc");
    assert_eq!(after("a|bc", |line| line.go(Motion::End, false)), "abc|");
}

#[test]
fn words_are_jumped_over() {
    assert_eq!(
        after("a red, old cat|", |line| line.go(Motion::WordLeft, false)),
        "a red, old |cat"
    );
    assert_eq!(
        after("a red, |old cat", |line| line.go(Motion::WordLeft, false)),
        "a |red, old cat"
    );
    assert_eq!(
        after("a| red, old", |line| line.go(Motion::WordRight, false)),
        "a red|, old"
    );
    assert_eq!(
        after("a red|, old", |line| line.go(Motion::WordRight, false)),
        "a red, old|"
    );
    assert_eq!(after("  |", |line| line.go(Motion::WordLeft, false)), "|  ");
    assert_eq!(
        after("|...", |line| line.go(Motion::WordRight, false)),
        "...|"
    );
}

#[test]
fn words_are_removed() {
    assert_eq!(
        after("a red cat|", |line| line.delete(Motion::WordLeft)),
        "a red |"
    );
    assert_eq!(
        after("a r|ed cat", |line| line.delete(Motion::WordLeft)),
        "a |ed cat"
    );
    assert_eq!(
        after("a| red cat", |line| line.delete(Motion::WordRight)),
        "a| cat"
    );
    assert_eq!(
        after("a [red| cat", |line| line.delete(Motion::WordLeft)),
        "a | cat"
    );
}

#[test]
fn the_rest_of_the_line_is_removed() {
    assert_eq!(
        after("a red| cat", |line| line.delete(Motion::End)),
        "a red|"
    );
    assert_eq!(
        after("a red| cat", |line| line.delete(Motion::Start)),
        "| cat"
    );
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
        line.go(Motion::Start, false);
        line.go(Motion::Right, false);
        line.go(Motion::Right, false);
        assert_eq!(line.caret(), 1 + character.len(), "{character}");
        line.delete(Motion::Left);
        assert_eq!(line.text(), "ab");
    }
}

#[test]
fn an_accent_joins_the_letter_before_it() {
    let mut line = editor("caf e|");
    line.insert("\u{301}");
    assert_eq!(line.caret(), line.text().len());
    line.go(Motion::Left, false);
    assert_eq!(&line.text()[line.caret()..], "e\u{301}");
    // and a letter that an accent follows takes the caret behind it
    let mut line = editor("|x");
    line.insert("\u{301}");
    line.go(Motion::Start, false);
    line.insert("e");
    assert_eq!(line.caret(), "e\u{301}".len());
}

#[test]
fn other_scripts_are_words_too() {
    assert_eq!(
        after("красный кот|", |line| line
            .go(Motion::WordLeft, false)),
        "красный |кот"
    );
    assert_eq!(
        after("ein schöner |Äpfel", |line| line.delete(Motion::WordLeft)),
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
    line.delete(Motion::WordLeft);
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

const MOTIONS: [Motion; 6] = [
    Motion::Left,
    Motion::Right,
    Motion::WordLeft,
    Motion::WordRight,
    Motion::Start,
    Motion::End,
];

#[derive(Clone, Debug)]
enum Act {
    Insert(String),
    Place(usize, bool),
    Go(Motion, bool),
    Delete(Motion),
    SelectAll,
    SelectWord,
    Undo,
}

fn act() -> impl Strategy<Value = Act> {
    let motion = || proptest::sample::select(&MOTIONS[..]);
    prop_oneof![
        "(\\PC|[\u{300}\u{200d}\n\u{0}👩🏽🇫🇷e]){0,8}".prop_map(Act::Insert),
        (0usize..80, any::<bool>()).prop_map(|(offset, select)| Act::Place(offset, select)),
        (motion(), any::<bool>()).prop_map(|(motion, select)| Act::Go(motion, select)),
        motion().prop_map(Act::Delete),
        proptest::sample::select(&[Act::SelectAll, Act::SelectWord, Act::Undo][..]),
    ]
}

fn perform(line: &mut Editor, act: &Act) {
    match act {
        Act::Insert(text) => line.insert(text),
        Act::Place(offset, select) => line.place(*offset, *select),
        Act::Go(motion, select) => line.go(*motion, *select),
        Act::Delete(motion) => line.delete(*motion),
        Act::SelectAll => line.select_all(),
        Act::SelectWord => line.select_word(line.caret()),
        Act::Undo => line.undo(),
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
            line.delete(Motion::Left);
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
