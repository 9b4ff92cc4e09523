use super::super::panel::{Input, Key, Modifiers};
use super::super::tests as sample;
use super::*;

fn layout(panel: &Panel, width: usize, height: usize, scale: f32, is_long: bool) -> Layout {
    let is_long = |_, _| is_long;
    Layout::new(panel, &is_long, (width, height), scale)
}

fn disjoint(layout: &Layout) {
    let mut places = vec![
        layout.picture,
        layout.status,
        layout.figures,
        layout.settings,
        layout.curve,
        layout.heading,
        layout.add,
        layout.message,
        layout.footer,
    ];
    places.extend(layout.rows.iter().map(|row| row.all));
    if layout.compact {
        // a message takes the place of the keys, and nothing else
        places.retain(|place| *place != layout.footer);
    }
    for (index, a) in places.iter().enumerate() {
        for b in &places[index + 1..] {
            assert!(
                a.intersection(*b).is_empty(),
                "{a:?} and {b:?} in {layout:?}"
            );
        }
    }
}

#[test]
fn nothing_lies_on_anything_else_at_any_size() {
    let panel = sample::panel();
    for scale in [1.0, 1.25, 2.0] {
        for width in (0..2400).step_by(83) {
            for height in (0..1800).step_by(97) {
                let is_long = |index, _| index == 0;
                let layout = Layout::new(&panel, &is_long, (width, height), scale);
                disjoint(&layout);
                let window = Rect::new(0, 0, width as i32, height as i32);
                assert_eq!(layout.panel.intersection(window), layout.panel);
                assert!(
                    layout
                        .rows
                        .iter()
                        .all(|row| { layout.panel.intersection(row.all) == row.all })
                );
            }
        }
    }
}

#[test]
fn a_wide_window_has_its_panel_at_the_side() {
    let layout = layout(&sample::panel(), 1000, 640, 1.0, true);
    assert_eq!((layout.panel.y, layout.panel.height), (0, 640));
    assert_eq!(layout.rows.len(), 3);
    assert!(!layout.add.is_empty());
}

#[test]
fn a_high_window_has_its_panel_below() {
    let layout = layout(&sample::panel(), 500, 900, 1.0, true);
    assert_eq!((layout.panel.x, layout.panel.width), (0, 500));
    assert!(!layout.rows.is_empty());
}

#[test]
fn a_tiny_window_shows_the_picture_alone() {
    let layout = layout(&sample::panel(), 110, 80, 1.0, true);
    assert_eq!(layout.picture, Rect::new(0, 0, 110, 80));
    assert!(layout.panel.is_empty() && layout.rows.is_empty());
}

#[test]
fn the_panel_of_a_small_window_gives_way_without_vanishing() {
    let panel = sample::panel();
    for ((width, height), rows) in [((320, 240), 1), ((420, 240), 3), ((200, 160), 0)] {
        let layout = layout(&panel, width, height, 0.9, false);
        assert!(!layout.status.is_empty(), "{width} x {height}: {layout:?}");
        assert_eq!(layout.rows.len(), rows, "{width} x {height}: {layout:?}");
        // the picture keeps more than half of what it could have at most
        let side = layout.picture.height.min(layout.picture.width);
        assert!(2 * side > height as i32, "{width} x {height}: {layout:?}");
    }
}

#[test]
fn what_is_typed_shows_in_a_small_window() {
    let mut panel = sample::panel();
    let now = std::time::Instant::now();
    panel.input(&Input::Key(Key::End, Modifiers::default()), now);
    panel.input(&Input::Key(Key::Enter, Modifiers::default()), now);
    for (width, height) in [(320, 240), (240, 160), (160, 120)] {
        let layout = layout(&panel, width, height, 0.9, false);
        let shown: Vec<usize> = layout.rows.iter().map(|row| row.index).collect();
        assert_eq!(shown, [2], "{width} x {height}: {layout:?}");
    }
}

#[test]
fn things_grow_with_the_window_and_shrink_a_little() {
    assert_eq!(growth((1040, 680), 1.0), 1.0);
    assert_eq!(growth((2080, 1360), 2.0), 1.0);
    assert_eq!(growth((320, 240), 1.0), GROWTHS.0);
    assert_eq!(growth((0, 0), 1.0), GROWTHS.0);
    assert_eq!(growth((40_000, 40_000), 1.0), GROWTHS.1);
    let sizes = [(1280, 800), (1920, 1080), (2560, 1440), (3840, 2160)];
    let growths = sizes.map(|size| growth(size, 1.0));
    assert!(
        growths.windows(2).all(|pair| pair[0] < pair[1]),
        "{growths:?}"
    );
    assert!((1.3..1.5).contains(&growths[1]), "{growths:?}");
}

#[test]
fn the_selected_prompt_shows() {
    let mut panel = sample::panel();
    let now = std::time::Instant::now();
    panel.input(&Input::Key(Key::End, Modifiers::default()), now);
    let layout = layout(&panel, 800, 420, 1.0, true);
    assert!(layout.rows.len() < 3, "{layout:?}");
    assert!(layout.rows.iter().any(|row| row.index == panel.selected));
}
