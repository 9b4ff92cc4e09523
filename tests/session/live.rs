//! The thread that paints, driven through its channel, with a generator and a critic that are none.

use std::fs;
use std::sync::atomic::Ordering;
use std::sync::mpsc::TrySendError;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::bench::{Bench, STEPS, learning_rate, prompts, restart, steps, timeline};
use phantasia::live::{Command, Message, Severity};
use phantasia::recipe::{Edit, Prompt, Restart};
use phantasia::run::{CHECKPOINT, IMAGE, METRICS, RECIPE};

#[test]
fn commands_take_effect_between_steps_in_their_order() {
    let bench = Bench::new(2, false);
    bench.log.wait_for("asked 2");
    // the third step waits for its permit: these come before the fourth
    bench.send(learning_rate(0.5));
    bench.send(Command::Fade(0));
    bench.send(prompts("a cat"));
    bench.allow(STEPS);
    let run = bench.run();
    let outcome = bench.worker.join().expect("a picture");
    assert_eq!((outcome.steps, outcome.interrupted), (STEPS, false));
    let mut lines = bench.log.lines();
    lines.retain(|line| !line.starts_with("asked"));
    assert_eq!(
        lines,
        [
            "prompts grey over 0",
            "step 0",
            "step 1",
            "step 2",
            "rate 0.5",
            "prompts a cat over 0",
            "step 3",
            "step 4",
            "step 5"
        ]
    );
    let edits = timeline(&run);
    assert_eq!(edits.len(), 2);
    assert_eq!((edits[0].step, edits[0].lr), (3, Some(0.5)));
    assert_eq!((edits[1].step, edits[1].fade), (3, Some(0)));
    assert_eq!(edits[1].prompts, Some(vec![Prompt::new("a cat")]));
}

#[test]
fn edits_that_replace_each_other_are_one() {
    let bench = Bench::new(1, false);
    bench.log.wait_for("asked 1");
    for text in ["a", "a c", "a ca", "a cat"] {
        bench.send(prompts(text));
    }
    bench.allow(STEPS);
    let run = bench.run();
    bench.worker.join().expect("a picture");
    assert!(
        bench
            .log
            .lines()
            .contains(&"prompts a cat over 3".to_owned())
    );
    assert_eq!(timeline(&run).len(), 1);
}

#[test]
fn each_of_the_edits_that_come_at_once_is_checked() {
    let bench = Bench::new(1, false);
    bench.log.wait_for("asked 1");
    bench.send(prompts("a"));
    bench.send(prompts("a cat"));
    bench.send(prompts("unspeakable"));
    bench.send(Command::Edit(Edit {
        prompts: Some(vec![]),
        ..Edit::default()
    }));
    bench.send(learning_rate(0.0));
    bench.send(learning_rate(2.0));
    bench.send(learning_rate(-1.0));
    bench.allow(STEPS);
    let (run, told) = (bench.run(), Arc::clone(&bench.told));
    let log = bench.log.clone();
    bench.worker.join().expect("a picture");
    let lines = log.lines();
    let made = lines
        .iter()
        .filter(|line| line.contains("over 3") || line.starts_with("rate"));
    assert_eq!(Vec::from_iter(made), ["prompts a cat over 3", "rate 2"]);
    assert_eq!(timeline(&run).len(), 2);
    let told = told.lock().expect("the messages");
    let refused = told
        .iter()
        .filter(|message| message.severity == Severity::Error);
    let expected = ["cannot be encoded", "prompts", "found 0", "found -1"];
    let refused = Vec::from_iter(refused.map(|message| message.text.as_str()));
    assert_eq!(refused.len(), expected.len(), "{refused:?}");
    for (text, words) in refused.iter().zip(expected) {
        assert!(text.contains(words), "no `{words}`: {text}");
    }
}

#[test]
fn a_full_channel_does_not_hold_the_front_end_up() {
    let bench = Bench::new(1, false);
    bench.log.wait_for("asked 1");
    let commands = bench.commands();
    let full = (0..10_000).any(|_| {
        matches!(
            commands.try_send(Command::Snapshot),
            Err(TrySendError::Full(_))
        )
    });
    assert!(full);
    bench.stop.store(true, Ordering::SeqCst);
    bench.allow(STEPS);
    bench.worker.join().expect("a picture");
}

#[test]
fn frames_that_nobody_takes_hold_nothing_up() {
    let bench = Bench::new(STEPS, false);
    let frames = bench.worker.frames();
    bench.worker.join().expect("a picture");
    let last = frames.take().expect("the last frame");
    assert_eq!((last.step, last.finished), (STEPS, true));
    assert!(frames.take().is_none());
}

#[test]
fn a_paused_render_waits_and_listens() {
    let bench = Bench::new(1, false);
    bench.log.wait_for("asked 1");
    bench.send(Command::Pause(true));
    bench.allow(1);
    let frame = bench.frame(|frame| frame.paused);
    bench.allow(STEPS);
    bench.send(prompts("a cat"));
    bench.log.wait_for("prompts a cat over 3");
    std::thread::sleep(Duration::from_millis(100));
    let steps = bench
        .log
        .lines()
        .iter()
        .filter(|line| line.starts_with("step"))
        .count();
    assert_eq!((frame.step, steps), (2, 2));
    bench.send(Command::Pause(false));
    assert_eq!(bench.worker.join().expect("a picture").steps, STEPS);
}

#[test]
fn what_cannot_be_done_is_said_and_changes_nothing() {
    let bench = Bench::new(1, false);
    bench.log.wait_for("asked 1");
    bench.send(prompts("unspeakable"));
    bench.allow(1);
    let frame = bench.frame(|frame| frame.message.is_some());
    let message = frame.message.expect("a message");
    assert!(message.text.contains("cannot be encoded"), "{message:?}");
    assert_eq!(message.severity, Severity::Error);
    assert_eq!(frame.prompts[0].prompt, Prompt::new("grey"));
    bench.allow(STEPS);
    let run = bench.run();
    bench.worker.join().expect("a picture");
    assert_eq!(timeline(&run), []);
}

#[test]
fn an_error_comes_back_and_the_picture_is_saved() {
    let bench = Bench::breaking(STEPS, false, 2);
    let run = bench.run();
    let error = format!("{:#}", bench.worker.join().expect_err("a broken critic"));
    assert!(error.contains("the critic is gone"), "{error}");
    assert!(error.contains(IMAGE), "{error}");
    assert!(run.join(IMAGE).is_file());
    let metrics = fs::read_to_string(run.join(METRICS)).expect("metrics");
    assert_eq!(metrics.lines().count(), 2);
}

#[test]
fn a_stop_is_no_interrupt_and_saves() {
    let bench = Bench::new(2, true);
    bench.log.wait_for("asked 2");
    bench.send(Command::Stop);
    bench.allow(1);
    let run = bench.run();
    let outcome = bench.worker.join().expect("a picture");
    assert_eq!((outcome.steps, outcome.interrupted), (3, false));
    for file in [IMAGE, CHECKPOINT, RECIPE] {
        assert!(run.join(file).is_file(), "{file}");
    }
}

#[test]
fn a_finished_render_that_is_held_can_begin_again() {
    let bench = Bench::new(2 * STEPS, true);
    let frame = bench.frame(|frame| frame.finished);
    assert_eq!(frame.step, STEPS);
    bench.log.wait_for("step 5");
    bench.send(restart());
    let frame = bench.frame(|frame| frame.finished && frame.step > STEPS);
    assert_eq!((frame.step, frame.steps), (2 * STEPS, 2 * STEPS));
    bench.send(Command::Stop);
    let run = bench.run();
    bench.worker.join().expect("a picture");
    assert_eq!(timeline(&run)[0].restart, Some(Restart::Image));
}

#[test]
fn an_edit_at_the_end_continues_painting() {
    let bench = Bench::new(100, true);
    // a fade of 3, and 2 steps more
    let frame = bench.frame(|frame| frame.finished);
    assert_eq!((frame.step, frame.extension), (STEPS, Some(5)));
    bench.send(prompts("a cat"));
    let frame = bench.frame(|frame| frame.finished && frame.step > STEPS);
    assert_eq!((frame.step, frame.steps), (STEPS + 5, STEPS + 5));
    bench.send(learning_rate(2.0));
    bench.frame(|frame| frame.finished && frame.step == STEPS + 10);
    bench.send(Command::Undo);
    bench.frame(|frame| frame.finished && frame.step == STEPS + 15);
    // an edit without an effect adds no steps
    bench.send(prompts("a cat"));
    bench.send(Command::Fade(1));
    let frame = bench.frame(|frame| frame.fade == 1);
    assert_eq!((frame.step, frame.extension), (STEPS + 15, Some(3)));
    bench.send(Command::Stop);
    let run = bench.run();
    let told = Arc::clone(&bench.told);
    let outcome = bench.worker.join().expect("a picture");
    assert_eq!((outcome.steps, outcome.stopped), (STEPS + 15, false));
    let edits: Vec<_> = (timeline(&run).iter())
        .map(|edit| (edit.step, edit.steps))
        .collect();
    assert_eq!(edits, [(6, Some(11)), (11, Some(16)), (16, Some(21))]);
    let told = told.lock().expect("the messages");
    let finished = (told.iter()).filter(|message| message.text.starts_with("finished; saved"));
    assert_eq!(finished.count(), 4, "{told:?}");
}

#[test]
fn a_stage_of_fixed_steps_cannot_be_extended_and_says_what_can_be_done() {
    let bench = Bench::with(100, true, usize::MAX, true);
    let frame = bench.frame(|frame| frame.finished);
    assert_eq!(frame.extension, None);
    for command in [prompts("a cat"), steps(20)] {
        bench.send(command);
        let frame = bench.frame(|frame| {
            (frame.message.as_ref()).is_some_and(|message| message.severity == Severity::Error)
        });
        let text = frame.message.expect("a message").text;
        assert!(
            text.contains("diffusion") && text.contains("R in the window"),
            "{text}"
        );
        assert_eq!(
            (frame.step, &frame.prompts[0].prompt),
            (STEPS, &Prompt::new("grey"))
        );
        // another message in between
        bench.send(Command::Snapshot);
        bench.frame(|frame| {
            (frame.message.as_ref()).is_some_and(|message| message.severity == Severity::Info)
        });
    }
    bench.send(restart());
    bench.send(prompts("a cat"));
    bench.frame(|frame| frame.finished && frame.step == 2 * STEPS);
    bench.send(Command::Stop);
    bench.worker.join().expect("a picture");
}

#[test]
fn a_held_render_waits_only_while_there_is_a_sender() {
    let mut bench = Bench::new(STEPS, true);
    let commands = bench.commands();
    bench.worker.hang_up();
    bench.frame(|frame| frame.finished);
    std::thread::sleep(Duration::from_millis(150));
    assert!(!bench.worker.is_done());
    drop(commands);
    assert_eq!(bench.worker.join().expect("a picture").steps, STEPS);
}

#[test]
fn a_stop_is_the_last_entry_of_the_timeline() {
    let bench = Bench::new(2, true);
    bench.log.wait_for("asked 2");
    bench.send(learning_rate(2.0));
    bench.send(Command::Pause(true));
    bench.send(Command::Stop);
    bench.allow(1);
    let run = bench.run();
    let outcome = bench.worker.join().expect("a picture");
    assert_eq!(
        (outcome.steps, outcome.planned, outcome.stopped),
        (3, STEPS, true)
    );
    let edits = timeline(&run);
    assert_eq!(edits.len(), 2);
    assert_eq!((edits[1].step, edits[1].stop), (3, true));
}

#[test]
fn messages_are_events_too() {
    let bench = Bench::new(1, false);
    bench.log.wait_for("asked 1");
    bench.send(Command::Undo);
    bench.send(prompts("unspeakable"));
    bench.send(learning_rate(2.0));
    bench.allow(STEPS);
    let told = Arc::clone(&bench.told);
    bench.worker.join().expect("a picture");
    let told = told.lock().expect("the messages");
    let told: Vec<_> = (told.iter())
        .map(|message| (message.severity, message.text.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (Severity::Error, "there is no edit to take back"),
            (Severity::Error, "that cannot be encoded"),
            (Severity::Info, "learning rate x 2.000"),
        ]
    );
}

#[test]
fn edits_are_taken_back_one_by_one() {
    let bench = Bench::new(1, false);
    bench.log.wait_for("asked 1");
    bench.send(prompts("a cat"));
    bench.send(learning_rate(2.0));
    bench.send(Command::Undo);
    bench.send(Command::Undo);
    bench.send(Command::Undo);
    bench.allow(STEPS);
    let run = bench.run();
    let told = Arc::clone(&bench.told);
    bench.worker.join().expect("a picture");
    let edits = timeline(&run);
    assert_eq!(edits.len(), 4);
    assert_eq!(edits[2].lr, Some(1.0));
    assert_eq!(edits[3].prompts, Some(vec![Prompt::new("grey")]));
    assert_told_in_order(
        &told,
        &[
            "took back the change of the learning rate",
            "took back the change of prompts",
        ],
    );
}

#[test]
fn a_restart_that_is_taken_back_says_what_goes_with_it() {
    let bench = Bench::new(1, false);
    bench.log.wait_for("asked 1");
    bench.send(restart());
    bench.send(steps(12));
    bench.send(Command::Undo);
    bench.allow(STEPS);
    let told = Arc::clone(&bench.told);
    bench.worker.join().expect("a picture");
    let back = format!("took back the restart; the stage has {STEPS} steps again, instead of 12");
    assert_told_in_order(&told, &[&back]);
}

fn assert_told_in_order(told: &Mutex<Vec<Message>>, expected: &[&str]) {
    let told = told.lock().expect("the messages");
    let back = told.iter().map(|message| message.text.as_str());
    let back = Vec::from_iter(back.filter(|text| text.starts_with("took back")));
    assert_eq!(back, expected);
}
