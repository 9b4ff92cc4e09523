use super::super::sample;
use super::pending::GIVE_UP_STEPS;
use super::*;
use crate::live::{Message, PromptStatus};
use crate::recipe::{Restart, Schedule};

const NO: Modifiers = Modifiers {
    shift: false,
    ctrl: false,
};

/// A panel, a clock that stands still until it is told to go on, and all that was sent.
struct Harness {
    panel: Panel,
    now: Instant,
    sent: Vec<Command>,
    other: Vec<Action>,
}

impl Harness {
    fn new() -> Self {
        Self {
            panel: sample::panel(),
            now: Instant::now(),
            sent: vec![],
            other: vec![],
        }
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(command) => self.sent.push(command),
                other => self.other.push(other),
            }
        }
    }

    fn input(&mut self, input: Input) -> &mut Self {
        let actions = self.panel.input(&input, self.now);
        self.take(actions);
        self
    }

    fn key(&mut self, key: Key) -> &mut Self {
        self.input(Input::Key(key, NO))
    }

    fn typed(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            self.input(Input::Char(c));
        }
        self
    }

    fn click(&mut self, target: Target) -> &mut Self {
        self.input(Input::Click {
            target,
            shift: false,
            double: false,
        })
    }

    fn wait(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        let actions = self.panel.tick(self.now);
        self.take(actions);
        self
    }

    fn show(&mut self, frame: Frame) -> &mut Self {
        self.panel.show(frame, self.now);
        self
    }

    /// The texts of the messages, the newest first.
    fn messages(&self) -> Vec<&str> {
        let messages = self.panel.messages(self.now);
        messages.map(|message| message.text.as_str()).collect()
    }

    fn texts(&self) -> Vec<String> {
        texts(self.panel.rows().into_iter().map(|row| row.prompt))
    }

    /// The texts of the prompts that were sent last.
    fn sent_texts(&self) -> Vec<String> {
        match self.sent.last() {
            Some(Command::Edit(Edit {
                prompts: Some(prompts),
                ..
            })) => texts(prompts.iter().cloned()),
            other => panic!("{other:?} was sent, no prompts"),
        }
    }

    fn sent_weights(&self) -> Vec<f64> {
        match self.sent.last() {
            Some(Command::Edit(Edit {
                prompts: Some(prompts),
                ..
            })) => prompts.iter().map(|prompt| prompt.weight.at(0.0)).collect(),
            other => panic!("{other:?} was sent, no prompts"),
        }
    }
}

fn restart(restart: Restart) -> Command {
    Command::Edit(Edit {
        restart: Some(restart),
        ..Edit::default()
    })
}

fn learning_rate(factor: f64) -> Command {
    Command::Edit(Edit {
        lr: Some(factor),
        ..Edit::default()
    })
}

fn texts(prompts: impl IntoIterator<Item = Prompt>) -> Vec<String> {
    (prompts.into_iter())
        .map(|prompt| prompt.text.unwrap_or_default())
        .collect()
}

const FIRST: &str = "an oil painting of a sunset over wheat fields";
const SECOND: &str = "ein schöner Abend – вечер";
const THIRD: &str = "text, watermark, blurry";

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
    match harness.sent.last() {
        Some(Command::Edit(Edit {
            prompts: Some(prompts),
            ..
        })) => assert_eq!(prompts[0].stop, Some(0.4)),
        other => panic!("{other:?}"),
    }
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
fn what_is_said_at_the_end_goes_when_it_goes_on() {
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
fn what_waits_for_a_long_step_is_promised() {
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
fn space_pauses_and_goes_on() {
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
    assert!(matches!(
        harness.sent[1],
        Command::Edit(Edit {
            prompts: Some(_),
            ..
        })
    ));
}

#[test]
fn an_undo_comes_after_what_it_undoes() {
    let mut harness = Harness::new();
    harness.key(Key::Up).typed("z");
    assert!(matches!(
        harness.sent[..],
        [
            Command::Edit(Edit {
                prompts: Some(_),
                ..
            }),
            Command::Undo
        ]
    ));
    // and what the worker says then holds
    harness.show(sample::frame(58));
    assert_eq!(harness.panel.rows()[0].prompt.weight, Schedule::from(1.0));
}

#[test]
fn q_sends_what_waits_and_stops() {
    let mut harness = Harness::new();
    harness.key(Key::Up).typed("q");
    assert!(matches!(
        harness.sent[..],
        [
            Command::Edit(Edit {
                prompts: Some(_),
                ..
            }),
            Command::Stop
        ]
    ));
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
fn a_paste_beside_an_edit_is_a_new_prompt() {
    let mut harness = Harness::new();
    harness
        .input(Input::Pasted("stars".to_owned()))
        .key(Key::Enter);
    assert_eq!(harness.sent_texts()[3], "stars");
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

fn message(number: u64, severity: Severity, text: &str) -> Option<Message> {
    Some(Message {
        number,
        severity,
        text: text.to_owned(),
    })
}

#[test]
fn the_worker_s_messages_show_for_a_while() {
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
fn what_went_wrong_stays_beside_what_went_well() {
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
