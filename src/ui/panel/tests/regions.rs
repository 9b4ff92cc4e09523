//! Regions that are drawn on the picture.

use super::super::*;
use super::*;
use crate::{NamedRegion, Region};

impl Harness {
    fn drag(&mut self, from: [f64; 2], to: [f64; 2]) -> &mut Self {
        self.click(Target::Picture(from))
            .input(Input::Drag(Target::Picture(to)))
            .input(Input::Release)
    }

    fn sent_regions(&self) -> Vec<Option<Region>> {
        let prompts = self.sent_prompts().into_iter();
        prompts.map(|prompt| prompt.region).collect()
    }

    /// A panel whose first prompt has a region.
    fn with_region(region: Region) -> Self {
        let mut frame = sample::frame(58);
        frame.prompts[0].prompt.region = Some(region);
        let mut harness = Self::new();
        harness.show(frame);
        harness
    }
}

fn rectangle(left: f64, top: f64, width: f64, height: f64) -> Option<Region> {
    Some(Region::Rectangle([left, top, width, height]))
}

#[test]
fn a_drag_draws_the_region_of_the_selected_prompt() {
    let mut harness = Harness::new();
    harness.key(Key::Tab).typed("g");
    harness.click(Target::Picture([0.7, 0.2]));
    harness.input(Input::Drag(Target::Picture([0.4, 0.65])));
    assert_eq!(harness.panel.drawn(), Some([0.4, 0.2, 0.3, 0.45]));
    assert!(harness.sent.is_empty(), "nothing is sent while it is drawn");
    harness.input(Input::Release);
    let expected = [None, rectangle(0.4, 0.2, 0.3, 0.45), None];
    assert_eq!(harness.sent_regions(), expected);
    assert!(!harness.panel.is_drawing);
    assert_eq!(harness.texts(), [FIRST, SECOND, THIRD]);
}

#[test]
fn a_region_ends_at_the_edges_of_the_picture() {
    let mut harness = Harness::new();
    harness.typed("g").drag([-0.4, 0.3], [0.5, 1.7]);
    assert_eq!(harness.sent_regions()[0], rectangle(0.0, 0.3, 0.5, 0.7));
    // nearly there
    harness.typed("g").drag([0.5, 0.01], [0.99, 0.6]);
    assert_eq!(harness.sent_regions()[0], rectangle(0.5, 0.0, 0.5, 0.6));
    // beside it
    let sent = harness.sent.len();
    harness.typed("g").drag([1.1, 0.2], [1.9, 0.8]);
    assert_eq!(harness.sent.len(), sent);
}

#[test]
fn a_click_or_a_slip_of_the_hand_is_no_region() {
    let mut harness = Harness::new();
    harness
        .typed("g")
        .drag([0.5, 0.5], [0.5, 0.5])
        .drag([0.5, 0.5], [0.51, 0.52])
        .drag([0.1, 0.5], [0.9, 0.51]);
    assert!(harness.sent.is_empty() && harness.panel.is_drawing);
    harness.drag([0.0, 0.0], [0.5, 1.0]);
    assert_eq!(harness.sent_regions()[0], rectangle(0.0, 0.0, 0.5, 1.0));
}

#[test]
fn a_drag_without_the_key_changes_nothing_and_says_how() {
    let mut harness = Harness::new();
    harness.drag([0.1, 0.1], [0.6, 0.6]);
    assert!(harness.sent.is_empty());
    assert!(
        harness.messages()[0].contains("press G"),
        "{:?}",
        harness.messages()
    );
    let mut harness = Harness::new();
    harness.drag([0.1, 0.1], [0.1, 0.1]);
    assert!(harness.messages().is_empty(), "a click is not a drag");
}

#[test]
fn escape_leaves_the_region_as_it_is() {
    let mut harness = Harness::with_region(Region::Named(NamedRegion::Left));
    harness.typed("g").click(Target::Picture([0.1, 0.1]));
    harness.input(Input::Drag(Target::Picture([0.6, 0.6])));
    harness.key(Key::Escape).input(Input::Release);
    assert!(harness.sent.is_empty() && !harness.panel.is_drawing);
    assert_eq!(harness.panel.drawn(), None);
    assert!(harness.messages().is_empty());
}

#[test]
fn the_whole_picture_is_the_region_again() {
    for remove in [Input::Char('g'), Input::Key(Key::Delete, NO)] {
        let mut harness = Harness::with_region(Region::Named(NamedRegion::Left));
        harness.typed("g").input(remove);
        assert_eq!(harness.sent_regions(), [None, None, None]);
        assert!(!harness.panel.is_drawing);
        // there was none
        let mut harness = Harness::new();
        harness.typed("gg");
        assert!(harness.sent.is_empty());
    }
}

#[test]
fn another_prompt_can_be_selected_while_a_region_is_drawn() {
    let mut harness = Harness::new();
    harness.typed("g").click(Target::Prompt(2, 3));
    assert!(harness.panel.editing.is_none());
    harness.drag([0.5, 0.0], [1.0, 1.0]);
    assert_eq!(harness.sent_regions()[2], rectangle(0.5, 0.0, 0.5, 1.0));
    harness
        .typed("g")
        .key(Key::Tab)
        .drag([0.0, 0.0], [0.5, 1.0]);
    assert_eq!(harness.sent_regions()[0], rectangle(0.0, 0.0, 0.5, 1.0));
}

#[test]
fn typing_a_prompt_ends_drawing() {
    for key in ["n", "x"] {
        let mut harness = Harness::new();
        harness.typed("g").typed(key);
        assert!(!harness.panel.is_drawing, "{key}");
    }
    let mut harness = Harness::new();
    harness.typed("g").key(Key::Enter).typed("g");
    assert!(!harness.panel.is_drawing, "a letter in a text is a letter");
}

#[test]
fn a_region_is_drawn_on_the_picture_and_not_on_the_cutouts() {
    let mut harness = Harness::new();
    let mut frame = sample::frame(58);
    frame.view = View::Cutouts;
    harness.show(frame).typed("g");
    assert_eq!(harness.sent, [Command::Show(View::Image)]);
    harness.typed("v");
    assert!(!harness.panel.is_drawing);
}

#[test]
fn a_refused_region_is_dropped() {
    let mut harness = Harness::new();
    harness.typed("g").drag([0.0, 0.0], [0.5, 1.0]);
    let mut frame = sample::frame(58);
    frame.message = Some(Message {
        number: 1,
        severity: Severity::Error,
        text: "the edit is refused".to_owned(),
    });
    harness.show(frame);
    assert!(harness.panel.rows()[0].prompt.region.is_none());
}

#[test]
fn a_prompt_that_is_edited_keeps_its_region() {
    let region = Region::Named(NamedRegion::Left);
    let mut harness = Harness::with_region(region.clone());
    harness.key(Key::Enter).typed("!").key(Key::Enter);
    assert_eq!(harness.sent_regions()[0], Some(region));
}

#[test]
fn the_help_does_not_swallow_the_end_of_a_drag() {
    let mut harness = Harness::new();
    harness.typed("g").click(Target::Picture([0.0, 0.0]));
    harness.input(Input::Drag(Target::Picture([0.5, 1.0])));
    harness.typed("h").input(Input::Release);
    assert_eq!(harness.sent_regions()[0], rectangle(0.0, 0.0, 0.5, 1.0));
    // the click that closes the help is no beginning of a drag
    let mut harness = Harness::new();
    harness.typed("gh").drag([0.0, 0.0], [0.5, 1.0]);
    assert!(harness.sent.is_empty() && harness.panel.is_drawing);
}
