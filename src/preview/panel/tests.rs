use super::super::sample;
use super::wish::GIVE_UP_STEPS;
use super::*;
use crate::live::{Message, PromptStatus};
use crate::recipe::Schedule;

const NO: Held = Held {
    shift: false,
    ctrl: false,
};

/// A panel, a clock that stands still until it is told to go on, and all that was sent.
struct Bench {
    panel: Panel,
    now: Instant,
    sent: Vec<Command>,
    other: Vec<Action>,
}

impl Bench {
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

    /// What is said, the newest first.
    fn said(&self) -> Vec<&str> {
        let said = self.panel.messages(self.now);
        said.map(|said| said.text.as_str()).collect()
    }

    fn texts(&self) -> Vec<String> {
        texts(self.panel.rows().into_iter().map(|row| row.prompt))
    }

    /// The texts of the prompts that were sent last.
    fn sent_texts(&self) -> Vec<String> {
        match self.sent.last() {
            Some(Command::SetPrompts(prompts)) => texts(prompts.iter().cloned()),
            other => panic!("{other:?} was sent, no prompts"),
        }
    }

    fn sent_weights(&self) -> Vec<f64> {
        match self.sent.last() {
            Some(Command::SetPrompts(prompts)) => {
                prompts.iter().map(|prompt| prompt.weight.at(0.0)).collect()
            }
            other => panic!("{other:?} was sent, no prompts"),
        }
    }
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
    let mut bench = Bench::new();
    bench.key(Key::Enter).typed(" é");
    assert!(bench.sent.is_empty(), "nothing is sent while it is typed");
    bench.key(Key::Enter);
    assert_eq!(bench.sent_texts(), [&format!("{FIRST} é"), SECOND, THIRD]);
    assert!(bench.panel.editing().is_none());
}

#[test]
fn a_weight_may_be_typed_behind_a_prompt() {
    let mut bench = Bench::new();
    bench.key(Key::Enter).typed("::-0.5").key(Key::Enter);
    assert_eq!(bench.sent_texts(), [FIRST, SECOND, THIRD]);
    assert_eq!(bench.sent_weights()[0], -0.5);
    // one that is no number is not taken, and can be put right
    let sent = bench.sent.len();
    bench.key(Key::Enter).typed("::x").key(Key::Enter);
    assert_eq!(bench.sent.len(), sent);
    assert!(bench.panel.editing().is_some());
    bench.key(Key::Backspace).typed("2").key(Key::Enter);
    assert_eq!(
        (bench.sent_texts()[0].as_str(), bench.sent_weights()[0]),
        (FIRST, 2.0)
    );
    // or the prompt stays as it was
    bench.key(Key::Enter).typed("::x").click(Target::Elsewhere);
    assert_eq!(bench.sent.len(), sent + 1);
    assert_eq!(bench.texts()[0], FIRST);
}

#[test]
fn an_edit_of_a_text_with_two_colons_may_be_ended_unchanged() {
    let mut bench = Bench::new();
    let mut frame = sample::frame(58);
    frame.prompts[0].prompt = Prompt::new("std::vec");
    bench.show(frame).key(Key::Enter).key(Key::Enter);
    assert!(bench.panel.editing().is_none());
    assert!(bench.sent.is_empty() && bench.said().is_empty());
}

#[test]
fn escape_drops_the_edit() {
    let mut bench = Bench::new();
    bench.key(Key::Enter).typed(" with birds").key(Key::Escape);
    assert!(bench.sent.is_empty());
    assert_eq!(bench.texts(), [FIRST, SECOND, THIRD]);
}

#[test]
fn an_edit_that_changes_nothing_is_not_sent() {
    let mut bench = Bench::new();
    bench.key(Key::Enter).typed("  ").key(Key::Enter);
    assert!(bench.sent.is_empty());
}

#[test]
fn tab_goes_to_the_next_prompt() {
    let mut bench = Bench::new();
    bench.key(Key::Tab).key(Key::Tab);
    assert_eq!(bench.panel.selected(), 2);
    bench.key(Key::Tab);
    assert_eq!(bench.panel.selected(), 0);
    bench.input(Input::Key(Key::Tab, Held { shift: true, ..NO }));
    assert_eq!(bench.panel.selected(), 2);
}

#[test]
fn tab_keeps_the_edit_and_edits_the_next() {
    let mut bench = Bench::new();
    bench.key(Key::Enter).typed("!").key(Key::Tab);
    assert_eq!(bench.sent_texts()[0], format!("{FIRST}!"));
    assert_eq!(bench.panel.editing().map(|editing| editing.row), Some(1));
}

#[test]
fn letters_that_are_commands_are_text_in_an_edit() {
    let mut bench = Bench::new();
    bench.key(Key::Enter).typed("qvsRz h+-nx").key(Key::Enter);
    assert_eq!(bench.sent.len(), 1);
    assert_eq!(bench.sent_texts()[0], format!("{FIRST}qvsRz h+-nx"));
}

#[test]
fn a_click_edits_where_it_is() {
    let mut bench = Bench::new();
    bench
        .click(Target::Prompt(1, 4))
        .typed("sehr ")
        .key(Key::Enter);
    assert_eq!(bench.sent_texts()[1], format!("ein sehr {}", &SECOND[4..]));
}

#[test]
fn a_double_click_selects_a_word() {
    let mut bench = Bench::new();
    bench.click(Target::Prompt(2, 1)).input(Input::Click {
        target: Target::Prompt(2, 1),
        shift: false,
        double: true,
    });
    bench.typed("letters").key(Key::Enter);
    assert_eq!(bench.sent_texts()[2], "letters, watermark, blurry");
}

#[test]
fn dragging_selects() {
    let mut bench = Bench::new();
    bench
        .click(Target::Prompt(2, 0))
        .input(Input::Drag(Target::Prompt(2, 6)));
    bench.key(Key::Delete).key(Key::Enter);
    assert_eq!(bench.sent_texts()[2], "watermark, blurry");
}

#[test]
fn a_click_elsewhere_keeps_the_edit() {
    for target in [Target::Picture, Target::Elsewhere, Target::Prompt(2, 0)] {
        let mut bench = Bench::new();
        bench.key(Key::Enter).typed("!").click(target);
        assert_eq!(bench.sent_texts()[0], format!("{FIRST}!"), "{target:?}");
    }
}

#[test]
fn a_prompt_is_added() {
    let mut bench = Bench::new();
    bench.typed("n").typed("stars").key(Key::Enter);
    assert_eq!(bench.sent_texts(), [FIRST, SECOND, THIRD, "stars"]);
    let mut bench = Bench::new();
    bench.click(Target::Add).typed("stars").key(Key::Tab);
    assert_eq!(bench.sent_texts(), [FIRST, SECOND, THIRD, "stars"]);
}

#[test]
fn a_prompt_that_stays_empty_is_not_added() {
    for key in [Key::Enter, Key::Escape] {
        let mut bench = Bench::new();
        bench.typed("n").key(key);
        assert!(bench.sent.is_empty());
        assert_eq!(bench.texts().len(), 3);
    }
}

#[test]
fn a_weight_that_changes_while_a_prompt_is_added_does_not_send_the_empty_prompt() {
    let mut bench = Bench::new();
    bench.key(Key::Up).typed("n").wait(SETTLE);
    assert_eq!(bench.sent_texts(), [FIRST, SECOND, THIRD]);
    bench.typed("stars").key(Key::Enter);
    assert_eq!(bench.sent_texts(), [FIRST, SECOND, THIRD, "stars"]);
}

#[test]
fn a_prompt_is_removed() {
    let mut bench = Bench::new();
    bench.key(Key::Tab).typed("x");
    assert_eq!(bench.sent_texts(), [FIRST, THIRD]);
    bench.key(Key::Delete);
    assert_eq!(bench.sent_texts(), [FIRST]);
    let before = bench.sent.len();
    bench.typed("x");
    assert_eq!((bench.sent.len(), bench.texts().len()), (before, 1));
    assert_eq!(bench.said().len(), 1);
}

#[test]
fn a_prompt_that_is_emptied_is_removed() {
    let mut bench = Bench::new();
    bench
        .key(Key::Enter)
        .input(Input::Shortcut(Shortcut::SelectAll));
    bench.key(Key::Backspace).key(Key::Enter);
    assert_eq!(bench.sent_texts(), [SECOND, THIRD]);
}

#[test]
fn a_click_below_an_emptied_prompt_edits_what_was_clicked() {
    let mut bench = Bench::new();
    bench
        .key(Key::Enter)
        .input(Input::Shortcut(Shortcut::SelectAll));
    bench.key(Key::Backspace).click(Target::Prompt(2, 0));
    let editing = bench.panel.editing().expect("an edit");
    assert_eq!((editing.row, editing.line.text()), (1, THIRD));
}

#[test]
fn presses_of_one_weight_are_one_edit() {
    let mut bench = Bench::new();
    bench.key(Key::Up).key(Key::Up);
    bench.input(Input::Key(Key::Up, Held { shift: true, ..NO }));
    assert!(bench.sent.is_empty());
    bench.wait(SETTLE);
    assert_eq!(
        (bench.sent.len(), bench.sent_weights()),
        (1, vec![1.7, 0.5, -0.3])
    );
}

#[test]
fn weights_go_below_zero_in_whole_tenths() {
    let mut bench = Bench::new();
    bench.key(Key::End);
    for _ in 0..3 {
        bench.key(Key::Up);
    }
    bench.wait(SETTLE);
    assert_eq!(bench.sent_weights(), [1.0, 0.5, 0.0]);
    bench.key(Key::Down).wait(SETTLE);
    assert_eq!(bench.sent_weights(), [1.0, 0.5, -0.1]);
}

#[test]
fn a_weight_changes_in_an_edit_too() {
    let mut bench = Bench::new();
    bench.key(Key::Enter).typed("!").key(Key::Down).wait(SETTLE);
    assert_eq!(bench.sent_weights()[0], 0.9);
    assert_eq!(bench.sent_texts()[0], FIRST, "the text is not kept yet");
    bench.key(Key::Enter);
    assert_eq!(bench.sent_texts()[0], format!("{FIRST}!"));
    assert_eq!(bench.sent_weights()[0], 0.9);
}

#[test]
fn what_an_edit_does_not_touch_stays() {
    let mut bench = Bench::new();
    let mut frame = sample::frame(58);
    frame.prompts[0].prompt.stop = Some(0.4);
    bench.show(frame).key(Key::Enter).typed("!").key(Key::Enter);
    match bench.sent.last() {
        Some(Command::SetPrompts(prompts)) => assert_eq!(prompts[0].stop, Some(0.4)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_image_prompt_has_no_text_to_edit() {
    let mut bench = Bench::new();
    let mut frame = sample::frame(58);
    frame.prompts[0].prompt.text = None;
    frame.prompts[0].prompt.image = Some("style.png".into());
    bench.show(frame).key(Key::Enter);
    assert!(bench.panel.editing().is_none());
    assert_eq!(bench.said().len(), 1);
    bench.key(Key::Up).wait(SETTLE);
    assert_eq!(bench.sent_weights()[0], 1.1);
}

#[test]
fn keys_are_commands() {
    let cases = [
        (' ', Command::Pause(true)),
        ('v', Command::Show(View::Cutouts)),
        ('s', Command::Snapshot),
        ('r', Command::Restart { from_image: true }),
        ('R', Command::Restart { from_image: false }),
        ('z', Command::Undo),
        ('Z', Command::Undo),
    ];
    for (key, command) in cases {
        let mut bench = Bench::new();
        bench.input(Input::Char(key));
        assert_eq!(bench.sent, [command]);
    }
}

#[test]
fn what_is_said_at_the_end_goes_when_it_goes_on() {
    let mut bench = Bench::new();
    let mut frame = sample::frame(200);
    frame.message = message(1, Severity::Info, "finished");
    bench.show(frame.clone());
    assert_eq!(bench.said(), ["finished"]);
    (frame.step, frame.steps, frame.finished) = (201, 270, false);
    bench.show(frame);
    assert_eq!(bench.said(), [""; 0]);
}

#[test]
fn what_waits_for_a_long_step_is_promised() {
    let mut bench = Bench::new();
    bench.typed("s");
    assert_eq!(bench.said(), [""; 0], "a fast step brings its own message");
    let mut frame = sample::frame(58);
    frame.steps_per_second = 0.05;
    bench.show(frame.clone()).typed("s");
    assert_eq!(bench.said(), ["The snapshot is saved after this step"]);
    bench.wait(MESSAGE);
    assert_eq!(bench.said(), [""; 0], "it goes though the step goes on");
    frame.message = message(1, Severity::Info, "saved it");
    bench.typed("s").show(frame);
    assert_eq!(bench.said(), ["saved it"]);
}

#[test]
fn space_pauses_and_goes_on() {
    let mut bench = Bench::new();
    bench.typed(" ").typed(" ");
    assert_eq!(bench.sent, [Command::Pause(true), Command::Pause(false)]);
}

#[test]
fn the_learning_rate_comes_back_to_one() {
    let mut bench = Bench::new();
    bench.typed("+++---").wait(SETTLE);
    assert_eq!(bench.sent, [Command::LearningRate(1.0)]);
    bench.typed("+").wait(SETTLE);
    assert_eq!(bench.sent.last(), Some(&Command::LearningRate(1.25)));
}

#[test]
fn the_fade_is_sent_before_the_edit_it_is_for() {
    let mut bench = Bench::new();
    bench.typed("f").key(Key::Enter).typed("!").key(Key::Enter);
    assert_eq!(bench.sent[0], Command::Fade(20));
    assert!(matches!(bench.sent[1], Command::SetPrompts(_)));
}

#[test]
fn an_undo_comes_after_what_it_undoes() {
    let mut bench = Bench::new();
    bench.key(Key::Up).typed("z");
    assert!(matches!(
        bench.sent[..],
        [Command::SetPrompts(_), Command::Undo]
    ));
    // and what the worker says then holds
    bench.show(sample::frame(58));
    assert_eq!(bench.panel.rows()[0].prompt.weight, Schedule::from(1.0));
}

#[test]
fn q_sends_what_waits_and_stops() {
    let mut bench = Bench::new();
    bench.key(Key::Up).typed("q");
    assert!(matches!(
        bench.sent[..],
        [Command::SetPrompts(_), Command::Stop]
    ));
    assert_eq!(bench.other, [Action::Close]);
    bench.typed("s");
    assert_eq!(bench.sent.len(), 2, "nothing is sent after the end");
    assert!(bench.panel.close(bench.now).is_empty());
}

#[test]
fn help_is_put_away_by_any_key() {
    let mut bench = Bench::new();
    bench.typed("h");
    assert!(bench.panel.help());
    bench.typed("s");
    assert!(!bench.panel.help() && bench.sent.is_empty());
    bench.typed("hq");
    assert_eq!(bench.sent, [Command::Stop]);
}

#[test]
fn the_clipboard_is_used() {
    let mut bench = Bench::new();
    bench.input(Input::Shortcut(Shortcut::Copy));
    assert_eq!(bench.other, [Action::Copy(FIRST.to_owned())]);
    bench
        .key(Key::Enter)
        .input(Input::Shortcut(Shortcut::Paste));
    assert_eq!(bench.other.last(), Some(&Action::Paste));
    bench
        .input(Input::Pasted(" in\nwinter".to_owned()))
        .key(Key::Enter);
    assert_eq!(bench.sent_texts()[0], format!("{FIRST} in winter"));
}

#[test]
fn a_paste_beside_an_edit_is_a_new_prompt() {
    let mut bench = Bench::new();
    bench
        .input(Input::Pasted("stars".to_owned()))
        .key(Key::Enter);
    assert_eq!(bench.sent_texts()[3], "stars");
}

#[test]
fn a_change_shows_until_the_worker_has_made_it() {
    let mut bench = Bench::new();
    bench.key(Key::Enter).typed("!").key(Key::Enter);
    // a frame that was on its way
    bench.show(sample::frame(58));
    assert_eq!(bench.texts()[0], format!("{FIRST}!"));
    let mut frame = sample::frame(59);
    frame.prompts[0].prompt.text = Some(format!("{FIRST}!"));
    bench.show(frame.clone());
    // and what others change afterwards is taken
    frame.prompts[0].prompt.text = Some("a cat".to_owned());
    bench.show(frame);
    assert_eq!(bench.texts()[0], "a cat");
}

#[test]
fn a_change_that_is_never_made_is_given_up() {
    let mut bench = Bench::new();
    bench.key(Key::Enter).typed("!").key(Key::Enter);
    bench.show(sample::frame(57 + GIVE_UP_STEPS));
    assert_eq!(bench.texts()[0], FIRST);
}

#[test]
fn an_edit_survives_what_others_change() {
    let mut bench = Bench::new();
    bench.key(Key::End).key(Key::Enter).typed(" words");
    let mut frame = sample::frame(58);
    frame.prompts.truncate(1);
    bench.show(frame);
    let editing = bench.panel.editing().expect("an edit");
    assert_eq!(editing.line.text(), format!("{THIRD} words"));
    bench.key(Key::Enter);
    assert_eq!(bench.sent_texts(), [FIRST, &format!("{THIRD} words")]);
}

#[test]
fn similarities_follow_their_words() {
    let mut bench = Bench::new();
    bench.typed("x");
    let similarities: Vec<_> = bench
        .panel
        .rows()
        .iter()
        .map(|row| row.similarity)
        .collect();
    assert_eq!(similarities, [Some(0.214), Some(0.093)]);
    bench.typed("n").typed("stars").key(Key::Enter);
    assert_eq!(bench.panel.rows()[2].similarity, None);
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
    let mut bench = Bench::new();
    let mut frame = sample::frame(58);
    frame.message = message(1, Severity::Info, "saved it");
    bench.show(frame.clone());
    assert_eq!(bench.said(), ["saved it"]);
    bench.wait(MESSAGE);
    assert_eq!(bench.said(), [""; 0]);
    // the same message in the next frame is not said again
    bench.show(frame);
    assert_eq!(bench.said(), [""; 0]);
}

#[test]
fn a_message_that_is_over_changes_nothing_any_more() {
    let mut bench = Bench::new();
    bench.panel.say("saved it", Severity::Info, bench.now);
    bench.typed(" ").key(Key::Up);
    assert_eq!(bench.panel.next_change(), Some(bench.now + SETTLE));
    bench.wait(SETTLE);
    assert_eq!(
        bench.panel.next_change(),
        Some(bench.now + MESSAGE - SETTLE)
    );
    // even if the panel was not drawn for a long time, such as while the machine slept
    for time in [MESSAGE, PROBLEM, Duration::from_secs(1_000_000)] {
        bench.wait(time);
        assert_eq!(bench.panel.next_change(), None);
    }
}

#[test]
fn what_went_wrong_stays_beside_what_went_well() {
    let mut bench = Bench::new();
    let mut frame = sample::frame(58);
    frame.message = message(1, Severity::Error, "unknown term");
    bench.show(frame.clone());
    for (number, text) in [(2, "saved one"), (3, "saved two")] {
        frame.message = message(number, Severity::Info, text);
        bench.show(frame.clone());
    }
    assert_eq!(bench.said(), ["saved two", "unknown term"]);
    bench.wait(MESSAGE);
    assert_eq!(bench.said(), ["unknown term"]);
    bench.wait(PROBLEM - MESSAGE);
    assert_eq!(bench.said(), [""; 0]);
}

#[test]
fn what_is_refused_is_taken_back_at_once() {
    let mut bench = Bench::new();
    bench.key(Key::Enter).typed("!").key(Key::Enter);
    let mut frame = sample::frame(58);
    bench.show(frame.clone());
    assert_eq!(bench.texts()[0], format!("{FIRST}!"), "it may still come");
    frame.message = message(1, Severity::Error, "no such words");
    bench.show(frame);
    assert_eq!(bench.texts()[0], FIRST);
}

#[test]
fn messages_are_few_and_go_away_with_escape() {
    let mut bench = Bench::new();
    for index in 0..9 {
        (bench.panel).say(&format!("error {index}"), Severity::Error, bench.now);
    }
    assert_eq!(bench.said(), ["error 8", "error 7", "error 6"]);
    // said again, it is there once
    bench.panel.say("error 7", Severity::Error, bench.now);
    assert_eq!(bench.said(), ["error 7", "error 8", "error 6"]);
    bench.key(Key::Escape);
    assert_eq!(bench.said(), [""; 0]);
}

#[test]
fn the_loss_is_kept_in_bounded_memory() {
    let mut bench = Bench::new();
    for step in 1..5000 {
        let mut frame = sample::frame(1);
        frame.step = step;
        bench.show(frame);
    }
    let losses = bench.panel.losses();
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
