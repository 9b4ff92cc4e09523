//! Prompts: their texts, weights and number.

use super::super::*;
use super::*;

#[test]
fn enter_edits_in_place_and_keeps() {
    let mut harness = Harness::new();
    harness.key(Key::Enter).typed(" é");
    assert!(harness.sent.is_empty(), "nothing is sent while it is typed");
    harness.key(Key::Enter);
    assert_eq!(harness.sent_texts(), [&format!("{FIRST} é"), SECOND, THIRD]);
    assert!(harness.panel.editing.is_none());
}

#[test]
fn a_weight_may_be_typed_behind_a_prompt() {
    let mut harness = Harness::new();
    harness.key(Key::Enter).typed("::-0.5").key(Key::Enter);
    assert_eq!(harness.sent_texts(), [FIRST, SECOND, THIRD]);
    assert_eq!(harness.sent_weights()[0], -0.5);
    // one that is no number is not taken, and can be put right
    let sent = harness.sent.len();
    harness.key(Key::Enter).typed("::x").key(Key::Enter);
    assert_eq!(harness.sent.len(), sent);
    assert!(harness.panel.editing.is_some());
    harness.key(Key::Backspace).typed("2").key(Key::Enter);
    assert_eq!(
        (harness.sent_texts()[0].as_str(), harness.sent_weights()[0]),
        (FIRST, 2.0)
    );
    // or the prompt stays as it was
    harness
        .key(Key::Enter)
        .typed("::x")
        .click(Target::Elsewhere);
    assert_eq!(harness.sent.len(), sent + 1);
    assert_eq!(harness.texts()[0], FIRST);
}

#[test]
fn an_edit_of_a_text_with_two_colons_may_be_ended_unchanged() {
    let mut harness = Harness::new();
    let mut frame = sample::frame(58);
    frame.prompts[0].prompt = Prompt::new("std::vec");
    harness.show(frame).key(Key::Enter).key(Key::Enter);
    assert!(harness.panel.editing.is_none());
    assert!(harness.sent.is_empty() && harness.messages().is_empty());
}

#[test]
fn escape_drops_the_edit() {
    let mut harness = Harness::new();
    harness
        .key(Key::Enter)
        .typed(" with birds")
        .key(Key::Escape);
    assert!(harness.sent.is_empty());
    assert_eq!(harness.texts(), [FIRST, SECOND, THIRD]);
}

#[test]
fn an_edit_that_changes_nothing_is_not_sent() {
    let mut harness = Harness::new();
    harness.key(Key::Enter).typed("  ").key(Key::Enter);
    assert!(harness.sent.is_empty());
}

#[test]
fn tab_goes_to_the_next_prompt() {
    let mut harness = Harness::new();
    harness.key(Key::Tab).key(Key::Tab);
    assert_eq!(harness.panel.selected, 2);
    harness.key(Key::Tab);
    assert_eq!(harness.panel.selected, 0);
    harness.input(Input::Key(Key::Tab, Modifiers { shift: true, ..NO }));
    assert_eq!(harness.panel.selected, 2);
}

#[test]
fn tab_keeps_the_edit_and_edits_the_next() {
    let mut harness = Harness::new();
    harness.key(Key::Enter).typed("!").key(Key::Tab);
    assert_eq!(harness.sent_texts()[0], format!("{FIRST}!"));
    assert_eq!(
        harness.panel.editing.as_ref().map(|editing| editing.row),
        Some(1)
    );
}

#[test]
fn letters_that_are_commands_are_text_in_an_edit() {
    let mut harness = Harness::new();
    harness.key(Key::Enter).typed("qvsRz h+-nx").key(Key::Enter);
    assert_eq!(harness.sent.len(), 1);
    assert_eq!(harness.sent_texts()[0], format!("{FIRST}qvsRz h+-nx"));
}

#[test]
fn a_click_edits_where_it_is() {
    let mut harness = Harness::new();
    harness
        .click(Target::Prompt(1, 4))
        .typed("sehr ")
        .key(Key::Enter);
    assert_eq!(
        harness.sent_texts()[1],
        format!("ein sehr {}", &SECOND[4..])
    );
}

#[test]
fn a_double_click_selects_a_word() {
    let mut harness = Harness::new();
    harness.click(Target::Prompt(2, 1)).input(Input::Click {
        target: Target::Prompt(2, 1),
        shift: false,
        double: true,
    });
    harness.typed("letters").key(Key::Enter);
    assert_eq!(harness.sent_texts()[2], "letters, watermark, blurry");
}

#[test]
fn dragging_selects() {
    let mut harness = Harness::new();
    harness
        .click(Target::Prompt(2, 0))
        .input(Input::Drag(Target::Prompt(2, 6)));
    harness.key(Key::Delete).key(Key::Enter);
    assert_eq!(harness.sent_texts()[2], "watermark, blurry");
}

#[test]
fn a_click_elsewhere_keeps_the_edit() {
    for target in [Target::Elsewhere, Target::Prompt(2, 0)] {
        let mut harness = Harness::new();
        harness.key(Key::Enter).typed("!").click(target);
        assert_eq!(harness.sent_texts()[0], format!("{FIRST}!"), "{target:?}");
    }
}

#[test]
fn a_prompt_is_added() {
    let mut harness = Harness::new();
    harness.typed("n").typed("stars").key(Key::Enter);
    assert_eq!(harness.sent_texts(), [FIRST, SECOND, THIRD, "stars"]);
    let mut harness = Harness::new();
    harness.click(Target::Add).typed("stars").key(Key::Tab);
    assert_eq!(harness.sent_texts(), [FIRST, SECOND, THIRD, "stars"]);
}

#[test]
fn a_prompt_that_stays_empty_is_not_added() {
    for key in [Key::Enter, Key::Escape] {
        let mut harness = Harness::new();
        harness.typed("n").key(key);
        assert!(harness.sent.is_empty());
        assert_eq!(harness.texts().len(), 3);
    }
}

#[test]
fn a_weight_that_changes_while_a_prompt_is_added_does_not_send_the_empty_prompt() {
    let mut harness = Harness::new();
    harness.key(Key::Up).typed("n").wait(SETTLE);
    assert_eq!(harness.sent_texts(), [FIRST, SECOND, THIRD]);
    harness.typed("stars").key(Key::Enter);
    assert_eq!(harness.sent_texts(), [FIRST, SECOND, THIRD, "stars"]);
}

#[test]
fn a_prompt_is_removed() {
    let mut harness = Harness::new();
    harness.key(Key::Tab).typed("x");
    assert_eq!(harness.sent_texts(), [FIRST, THIRD]);
    harness.key(Key::Delete);
    assert_eq!(harness.sent_texts(), [FIRST]);
    let before = harness.sent.len();
    harness.typed("x");
    assert_eq!((harness.sent.len(), harness.texts().len()), (before, 1));
    assert_eq!(harness.messages().len(), 1);
}

#[test]
fn a_prompt_that_is_emptied_is_removed() {
    let mut harness = Harness::new();
    harness
        .key(Key::Enter)
        .input(Input::Shortcut(Shortcut::SelectAll));
    harness.key(Key::Backspace).key(Key::Enter);
    assert_eq!(harness.sent_texts(), [SECOND, THIRD]);
}

#[test]
fn a_click_below_an_emptied_prompt_edits_what_was_clicked() {
    let mut harness = Harness::new();
    harness
        .key(Key::Enter)
        .input(Input::Shortcut(Shortcut::SelectAll));
    harness.key(Key::Backspace).click(Target::Prompt(2, 0));
    let editing = harness.panel.editing.as_ref().expect("an edit");
    assert_eq!((editing.row, editing.line.text()), (1, THIRD));
}

#[test]
fn presses_of_one_weight_are_one_edit() {
    let mut harness = Harness::new();
    harness.key(Key::Up).key(Key::Up);
    harness.input(Input::Key(Key::Up, Modifiers { shift: true, ..NO }));
    assert!(harness.sent.is_empty());
    harness.wait(SETTLE);
    assert_eq!(
        (harness.sent.len(), harness.sent_weights()),
        (1, vec![1.7, 0.5, -0.3])
    );
}

#[test]
fn weights_go_below_zero_in_whole_tenths() {
    let mut harness = Harness::new();
    harness.key(Key::End);
    for _ in 0..3 {
        harness.key(Key::Up);
    }
    harness.wait(SETTLE);
    assert_eq!(harness.sent_weights(), [1.0, 0.5, 0.0]);
    harness.key(Key::Down).wait(SETTLE);
    assert_eq!(harness.sent_weights(), [1.0, 0.5, -0.1]);
}

#[test]
fn a_weight_changes_in_an_edit_too() {
    let mut harness = Harness::new();
    harness
        .key(Key::Enter)
        .typed("!")
        .key(Key::Down)
        .wait(SETTLE);
    assert_eq!(harness.sent_weights()[0], 0.9);
    assert_eq!(harness.sent_texts()[0], FIRST, "the text is not kept yet");
    harness.key(Key::Enter);
    assert_eq!(harness.sent_texts()[0], format!("{FIRST}!"));
    assert_eq!(harness.sent_weights()[0], 0.9);
}

#[test]
fn what_an_edit_does_not_touch_stays() {
    let mut harness = Harness::new();
    let mut frame = sample::frame(58);
    frame.prompts[0].prompt.stop = Some(0.4);
    harness
        .show(frame)
        .key(Key::Enter)
        .typed("!")
        .key(Key::Enter);
    assert_eq!(harness.sent_prompts()[0].stop, Some(0.4));
}

#[test]
fn an_image_prompt_has_no_text_to_edit() {
    let mut harness = Harness::new();
    let mut frame = sample::frame(58);
    frame.prompts[0].prompt.text = None;
    frame.prompts[0].prompt.image = Some("style.png".into());
    harness.show(frame).key(Key::Enter);
    assert!(harness.panel.editing.is_none());
    assert_eq!(harness.messages().len(), 1);
    harness.key(Key::Up).wait(SETTLE);
    assert_eq!(harness.sent_weights()[0], 1.1);
}

#[test]
fn the_clipboard_is_used() {
    let mut harness = Harness::new();
    harness.input(Input::Shortcut(Shortcut::Copy));
    assert_eq!(harness.other, [Action::Copy(FIRST.to_owned())]);
    harness
        .key(Key::Enter)
        .input(Input::Shortcut(Shortcut::Paste));
    assert_eq!(harness.other.last(), Some(&Action::Paste));
    harness
        .input(Input::Pasted(" in\nwinter".to_owned()))
        .key(Key::Enter);
    assert_eq!(harness.sent_texts()[0], format!("{FIRST} in winter"));
}

#[test]
fn a_paste_without_an_edit_is_a_new_prompt() {
    let mut harness = Harness::new();
    harness
        .input(Input::Pasted("stars".to_owned()))
        .key(Key::Enter);
    assert_eq!(harness.sent_texts()[3], "stars");
}

#[test]
fn similarities_follow_their_words() {
    let mut harness = Harness::new();
    harness.typed("x");
    let similarities: Vec<_> = harness
        .panel
        .rows()
        .iter()
        .map(|row| row.similarity)
        .collect();
    assert_eq!(similarities, [Some(0.214), Some(0.093)]);
    harness.typed("n").typed("stars").key(Key::Enter);
    assert_eq!(harness.panel.rows()[2].similarity, None);
}

#[test]
fn a_prompt_of_several_texts_shows_the_present_one_and_is_not_typed_into() {
    let mut harness = Harness::new();
    let frame = harness.panel.frame.as_mut().expect("a frame");
    let steps = frame.steps;
    let prompt = Prompt {
        text: None,
        keyframes: Some(vec!["a seed".into(), "a sprout".into(), "a tree".into()]),
        ..Prompt::new("")
    };
    frame.prompts[0].prompt = prompt.clone();
    harness.panel.prompts.value[0] = prompt;
    for (step, shown) in [
        (0, "a seed (1 of 3)"),
        (steps / 2, "a sprout (2 of 3)"),
        (steps, "a tree (3 of 3)"),
    ] {
        harness.panel.frame.as_mut().expect("a frame").step = step;
        assert_eq!(harness.panel.rows()[0].text.as_deref(), Some(shown));
    }
    harness.key(Key::Enter);
    assert!(harness.panel.editing.is_none());
    let messages: Vec<_> = harness.panel.messages(harness.now).collect();
    assert!(messages[0].text.contains("several texts"), "{messages:?}");
}
