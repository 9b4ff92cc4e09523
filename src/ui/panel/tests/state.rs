//! Commands, messages, and what frames change.

use super::super::*;
use super::*;

#[test]
fn keys_are_commands() {
    let cases = [
        (' ', Command::Pause(true)),
        ('v', Command::Show(View::Cutouts)),
        ('s', Command::Snapshot),
        ('r', restart(Restart::Image)),
        ('R', restart(Restart::Scratch)),
        ('z', Command::Undo),
        ('Z', Command::Undo),
    ];
    for (key, command) in cases {
        let mut harness = Harness::new();
        harness.input(Input::Char(key));
        assert_eq!(harness.sent, [command]);
    }
}

#[test]
fn messages_about_the_end_go_when_the_render_continues() {
    let mut harness = Harness::new();
    let mut frame = sample::frame(200);
    frame.message = message(1, Severity::Info, "finished");
    harness.show(frame.clone());
    assert_eq!(harness.messages(), ["finished"]);
    (frame.step, frame.steps, frame.finished) = (201, 270, false);
    harness.show(frame);
    assert_eq!(harness.messages(), [""; 0]);
}

#[test]
fn what_waits_for_a_long_step_is_announced() {
    let mut harness = Harness::new();
    harness.typed("s");
    assert_eq!(
        harness.messages(),
        [""; 0],
        "a fast step brings its own message"
    );
    let mut frame = sample::frame(58);
    frame.steps_per_second = 0.05;
    harness.show(frame.clone()).typed("s");
    assert_eq!(
        harness.messages(),
        ["The snapshot is saved after this step"]
    );
    harness.wait(MESSAGE);
    assert_eq!(
        harness.messages(),
        [""; 0],
        "it goes though the step goes on"
    );
    frame.message = message(1, Severity::Info, "saved it");
    harness.typed("s").show(frame);
    assert_eq!(harness.messages(), ["saved it"]);
}

#[test]
fn space_pauses_and_continues() {
    let mut harness = Harness::new();
    harness.typed(" ").typed(" ");
    assert_eq!(harness.sent, [Command::Pause(true), Command::Pause(false)]);
}

#[test]
fn the_learning_rate_comes_back_to_one() {
    let mut harness = Harness::new();
    harness.typed("+++---").wait(SETTLE);
    assert_eq!(harness.sent, [learning_rate(1.0)]);
    harness.typed("+").wait(SETTLE);
    assert_eq!(harness.sent.last(), Some(&learning_rate(1.25)));
}

#[test]
fn the_fade_is_sent_before_the_edit_it_is_for() {
    let mut harness = Harness::new();
    harness
        .typed("f")
        .key(Key::Enter)
        .typed("!")
        .key(Key::Enter);
    assert_eq!(harness.sent[0], Command::Fade(20));
    assert!(prompts(&harness.sent[1]).is_some());
}

#[test]
fn an_undo_comes_after_what_it_undoes() {
    let mut harness = Harness::new();
    harness.key(Key::Up).typed("z");
    assert!(prompts(&harness.sent[0]).is_some());
    assert_eq!(harness.sent[1..], [Command::Undo]);
    // and what the worker says then holds
    harness.show(sample::frame(58));
    assert_eq!(harness.panel.rows()[0].prompt.weight, Schedule::from(1.0));
}

#[test]
fn q_sends_what_waits_and_stops() {
    let mut harness = Harness::new();
    harness.key(Key::Up).typed("q");
    assert!(prompts(&harness.sent[0]).is_some());
    assert_eq!(harness.sent[1..], [Command::Stop]);
    assert_eq!(harness.other, [Action::Close]);
    harness.typed("s");
    assert_eq!(harness.sent.len(), 2, "nothing is sent after the end");
    assert!(harness.panel.close(harness.now).is_empty());
}

#[test]
fn help_is_put_away_by_any_key() {
    let mut harness = Harness::new();
    harness.typed("h");
    assert!(harness.panel.help);
    harness.typed("s");
    assert!(!harness.panel.help && harness.sent.is_empty());
    harness.typed("hq");
    assert_eq!(harness.sent, [Command::Stop]);
}

#[test]
fn a_change_shows_until_the_worker_has_made_it() {
    let mut harness = Harness::new();
    harness.key(Key::Enter).typed("!").key(Key::Enter);
    // a frame that was on its way
    harness.show(sample::frame(58));
    assert_eq!(harness.texts()[0], format!("{FIRST}!"));
    let mut frame = sample::frame(59);
    frame.prompts[0].prompt.text = Some(format!("{FIRST}!"));
    harness.show(frame.clone());
    // and what others change afterwards is taken
    frame.prompts[0].prompt.text = Some("a cat".to_owned());
    harness.show(frame);
    assert_eq!(harness.texts()[0], "a cat");
}

#[test]
fn a_change_that_is_never_made_is_given_up() {
    let mut harness = Harness::new();
    harness.key(Key::Enter).typed("!").key(Key::Enter);
    harness.show(sample::frame(57 + GIVE_UP_STEPS));
    assert_eq!(harness.texts()[0], FIRST);
}

#[test]
fn an_edit_survives_what_others_change() {
    let mut harness = Harness::new();
    harness.key(Key::End).key(Key::Enter).typed(" words");
    let mut frame = sample::frame(58);
    frame.prompts.truncate(1);
    harness.show(frame);
    let editing = harness.panel.editing.as_ref().expect("an edit");
    assert_eq!(editing.line.text(), format!("{THIRD} words"));
    harness.key(Key::Enter);
    assert_eq!(harness.sent_texts(), [FIRST, &format!("{THIRD} words")]);
}

fn message(number: u64, severity: Severity, text: &str) -> Option<Message> {
    Some(Message {
        number,
        severity,
        text: text.to_owned(),
    })
}

#[test]
fn messages_of_the_worker_show_for_a_while() {
    let mut harness = Harness::new();
    let mut frame = sample::frame(58);
    frame.message = message(1, Severity::Info, "saved it");
    harness.show(frame.clone());
    assert_eq!(harness.messages(), ["saved it"]);
    harness.wait(MESSAGE);
    assert_eq!(harness.messages(), [""; 0]);
    // the same message in the next frame is not said again
    harness.show(frame);
    assert_eq!(harness.messages(), [""; 0]);
}

#[test]
fn a_message_that_is_over_changes_nothing_any_more() {
    let mut harness = Harness::new();
    harness
        .panel
        .notify("saved it", Severity::Info, harness.now);
    harness.typed(" ").key(Key::Up);
    assert_eq!(harness.panel.next_change(), Some(harness.now + SETTLE));
    harness.wait(SETTLE);
    assert_eq!(
        harness.panel.next_change(),
        Some(harness.now + MESSAGE - SETTLE)
    );
    // even if the panel was not drawn for a long time, such as while the machine slept
    for time in [MESSAGE, PROBLEM, Duration::from_secs(1_000_000)] {
        harness.wait(time);
        assert_eq!(harness.panel.next_change(), None);
    }
}

#[test]
fn errors_stay_longer_than_information() {
    let mut harness = Harness::new();
    let mut frame = sample::frame(58);
    frame.message = message(1, Severity::Error, "unknown term");
    harness.show(frame.clone());
    for (number, text) in [(2, "saved one"), (3, "saved two")] {
        frame.message = message(number, Severity::Info, text);
        harness.show(frame.clone());
    }
    assert_eq!(harness.messages(), ["saved two", "unknown term"]);
    harness.wait(MESSAGE);
    assert_eq!(harness.messages(), ["unknown term"]);
    harness.wait(PROBLEM - MESSAGE);
    assert_eq!(harness.messages(), [""; 0]);
}

#[test]
fn what_is_refused_is_taken_back_at_once() {
    let mut harness = Harness::new();
    harness.key(Key::Enter).typed("!").key(Key::Enter);
    let mut frame = sample::frame(58);
    harness.show(frame.clone());
    assert_eq!(harness.texts()[0], format!("{FIRST}!"), "it may still come");
    frame.message = message(1, Severity::Error, "no such words");
    harness.show(frame);
    assert_eq!(harness.texts()[0], FIRST);
}

#[test]
fn messages_are_few_and_go_away_with_escape() {
    let mut harness = Harness::new();
    for index in 0..9 {
        (harness.panel).notify(&format!("error {index}"), Severity::Error, harness.now);
    }
    assert_eq!(harness.messages(), ["error 8", "error 7", "error 6"]);
    // said again, it is there once
    harness
        .panel
        .notify("error 7", Severity::Error, harness.now);
    assert_eq!(harness.messages(), ["error 7", "error 8", "error 6"]);
    harness.key(Key::Escape);
    assert_eq!(harness.messages(), [""; 0]);
}

#[test]
fn the_loss_is_kept_in_bounded_memory() {
    let mut harness = Harness::new();
    for step in 1..5000 {
        let mut frame = sample::frame(1);
        frame.step = step;
        harness.show(frame);
    }
    let losses = &harness.panel.losses;
    assert!(losses.len() <= LOSSES && losses.len() > LOSSES / 4);
    assert_eq!(losses.last().map(|loss| loss.0), Some(4999));
    assert!(losses.windows(2).all(|pair| pair[0].0 < pair[1].0));
}

#[test]
fn a_panel_without_frames_takes_input() {
    let mut panel = Panel::new();
    let now = Instant::now();
    for key in [
        Key::Up,
        Key::Delete,
        Key::Tab,
        Key::End,
        Key::Enter,
        Key::Escape,
    ] {
        panel.input(&Input::Key(key, NO), now);
    }
    panel.input(
        &Input::Click {
            target: Target::Prompt(7, 9),
            shift: true,
            double: true,
        },
        now,
    );
    let status = |text: &str| PromptStatus {
        prompt: Prompt::new(text),
        weight: 1.0,
        similarity: f64::NAN,
    };
    let mut frame = sample::frame(0);
    frame.prompts = vec![status("a cat")];
    panel.show(frame, now);
    assert_eq!(panel.rows().len(), 1);
}
