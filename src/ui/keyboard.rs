//! Translates what the windowing library reports of the keyboard into what the panel understands.
//!
//! Characters come as the keyboard's layout and the input method make them; keys come as they are pressed, each press and each
//! repeat in order. Commands are characters, so that `+` is `+` on every layout; movements are keys.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use minifb::{InputCallback, Key as Pressed};

use super::panel::{Input, Key, Modifiers, Shortcut};

const SHIFT: [Pressed; 2] = [Pressed::LeftShift, Pressed::RightShift];
const CTRL: [Pressed; 2] = [Pressed::LeftCtrl, Pressed::RightCtrl];
const ALT: [Pressed; 2] = [Pressed::LeftAlt, Pressed::RightAlt];
const COMMAND: [Pressed; 2] = [Pressed::LeftSuper, Pressed::RightSuper];
const IS_MAC: bool = cfg!(target_os = "macos");
/// At most this many events are kept between two polls; more are dropped.
const MOST: usize = 4096;

/// What the windowing library reports.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Key(Pressed, bool),
    Char(u32),
}

/// Events in the order in which they came, and the keys that are held.
#[derive(Debug, Default)]
pub(super) struct Keyboard {
    events: Rc<RefCell<VecDeque<Event>>>,
    held: HashSet<Pressed>,
    /// Whether the window had the keyboard at the last poll.
    active: bool,
}

struct Listener(Rc<RefCell<VecDeque<Event>>>);

impl Listener {
    fn push(&self, event: Event) {
        let mut events = self.0.borrow_mut();
        if events.len() < MOST {
            events.push_back(event);
        }
    }
}

impl InputCallback for Listener {
    fn add_char(&mut self, code: u32) {
        self.push(Event::Char(code));
    }

    fn set_key_state(&mut self, key: Pressed, down: bool) {
        self.push(Event::Key(key, down));
    }
}

impl Keyboard {
    /// The callback for the windowing library.
    pub(super) fn listener(&self) -> Box<dyn InputCallback> {
        Box::new(Listener(Rc::clone(&self.events)))
    }

    fn holds(&self, keys: [Pressed; 2]) -> bool {
        keys.iter().any(|key| self.held.contains(key))
    }

    /// Whether shift is held.
    pub(super) fn shift(&self) -> bool {
        self.holds(SHIFT)
    }

    /// Records whether the window has the keyboard. Once it has lost it, no modifier is held any more: their release is not reported.
    /// Where no window manager gives windows the focus, keys arrive all the same, and modifiers count as long as they are held.
    pub(super) fn set_active(&mut self, active: bool) {
        if self.active && !active {
            self.held.clear();
        }
        self.active = active;
    }

    /// The next thing that was typed.
    pub(super) fn read(&mut self) -> Option<Input> {
        loop {
            let event = self.events.borrow_mut().pop_front()?;
            let input = match event {
                Event::Key(key, true) => {
                    self.held.insert(key);
                    self.key(key)
                }
                Event::Key(key, false) => {
                    self.held.remove(&key);
                    None
                }
                Event::Char(code) => self.char(code),
            };
            if input.is_some() {
                return input;
            }
        }
    }

    fn key(&self, key: Pressed) -> Option<Input> {
        let (shift, ctrl, command) = (self.shift(), self.holds(CTRL), self.holds(COMMAND));
        // without a Mac the shortcuts of characters come as control characters, whatever the layout
        let mac = IS_MAC && command;
        let key = match key {
            Pressed::Enter | Pressed::NumPadEnter => Key::Enter,
            Pressed::Escape => Key::Escape,
            Pressed::Tab => Key::Tab,
            Pressed::Backspace => Key::Backspace,
            Pressed::Delete => Key::Delete,
            Pressed::Left if mac => Key::Home,
            Pressed::Right if mac => Key::End,
            Pressed::Left => Key::Left,
            Pressed::Right => Key::Right,
            Pressed::Up => Key::Up,
            Pressed::Down => Key::Down,
            Pressed::Home => Key::Home,
            Pressed::End => Key::End,
            Pressed::Insert if shift => return Some(Input::Shortcut(Shortcut::Paste)),
            Pressed::Insert if ctrl => return Some(Input::Shortcut(Shortcut::Copy)),
            Pressed::V if mac => return Some(Input::Shortcut(Shortcut::Paste)),
            Pressed::C if mac => return Some(Input::Shortcut(Shortcut::Copy)),
            Pressed::X if mac => return Some(Input::Shortcut(Shortcut::Cut)),
            Pressed::A if mac => return Some(Input::Shortcut(Shortcut::SelectAll)),
            Pressed::Z if mac => return Some(Input::Shortcut(Shortcut::Undo)),
            Pressed::Equal | Pressed::NumPadPlus if ctrl || command => {
                return Some(Input::Zoom(Ordering::Greater));
            }
            Pressed::Minus | Pressed::NumPadMinus if ctrl || command => {
                return Some(Input::Zoom(Ordering::Less));
            }
            Pressed::Key0 if ctrl || command => return Some(Input::Zoom(Ordering::Equal)),
            _ => return None,
        };
        let ctrl = if IS_MAC { self.holds(ALT) } else { ctrl };
        Some(Input::Key(key, Modifiers { shift, ctrl }))
    }

    fn char(&self, code: u32) -> Option<Input> {
        let c = char::from_u32(code)?;
        let (ctrl, alt) = (self.holds(CTRL), self.holds(ALT));
        if c.is_control() {
            let shortcut = match c {
                '\u{1}' => Shortcut::SelectAll,
                '\u{3}' => Shortcut::Copy,
                '\u{b}' => Shortcut::CutToEnd,
                '\u{15}' => Shortcut::CutToStart,
                '\u{16}' => Shortcut::Paste,
                '\u{18}' => Shortcut::Cut,
                '\u{1a}' => Shortcut::Undo,
                _ => return None,
            };
            return (ctrl && !IS_MAC).then_some(Input::Shortcut(shortcut));
        }
        // control and alt together are the key for third characters; on a Mac, alt alone is
        let typed = ctrl == alt || (alt && IS_MAC);
        // Macs report their function keys as private characters
        let private = ('\u{f700}'..='\u{f8ff}').contains(&c);
        (typed && !self.holds(COMMAND) && !private).then_some(Input::Char(c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(events: &[Event]) -> Vec<Input> {
        let mut keyboard = Keyboard::default();
        let mut listener = keyboard.listener();
        for event in events {
            match *event {
                Event::Key(key, down) => listener.set_key_state(key, down),
                Event::Char(code) => listener.add_char(code),
            }
        }
        std::iter::from_fn(|| keyboard.read()).collect()
    }

    fn press(key: Pressed) -> Event {
        Event::Key(key, true)
    }

    fn typed(c: char) -> Event {
        Event::Char(c.into())
    }

    #[test]
    fn characters_come_as_they_were_typed() {
        let inputs = inputs(&[
            press(Pressed::A),
            typed('a'),
            typed('é'),
            typed('日'),
            typed('🙂'),
        ]);
        assert_eq!(inputs, ['a', 'é', '日', '🙂'].map(Input::Char));
    }

    #[test]
    fn a_key_is_not_a_character_as_well() {
        let events = [
            press(Pressed::Enter),
            typed('\r'),
            press(Pressed::Backspace),
            typed('\u{8}'),
        ];
        let keys = [Key::Enter, Key::Backspace].map(|key| Input::Key(key, Modifiers::default()));
        assert_eq!(inputs(&events), keys);
    }

    #[test]
    fn a_repeated_key_is_pressed_again() {
        let events = [
            press(Pressed::Left),
            press(Pressed::Left),
            Event::Key(Pressed::Left, false),
        ];
        assert_eq!(inputs(&events).len(), 2);
    }

    #[test]
    fn modifiers_are_those_of_the_moment() {
        let events = [
            press(Pressed::LeftShift),
            press(Pressed::Left),
            Event::Key(Pressed::LeftShift, false),
            press(Pressed::RightCtrl),
            press(Pressed::Right),
        ];
        let held = |shift, ctrl| Modifiers { shift, ctrl };
        let expected = [
            Input::Key(Key::Left, held(true, false)),
            Input::Key(Key::Right, held(false, !cfg!(target_os = "macos"))),
        ];
        assert_eq!(inputs(&events), expected);
    }

    #[test]
    #[cfg(not(target_os = "macos"))]
    fn control_makes_shortcuts_and_no_text() {
        let events = [
            press(Pressed::LeftCtrl),
            press(Pressed::V),
            typed('\u{16}'),
            typed('+'),
            typed('\u{1a}'),
        ];
        assert_eq!(
            inputs(&events),
            [Shortcut::Paste, Shortcut::Undo].map(Input::Shortcut)
        );
    }

    #[test]
    #[cfg(not(target_os = "macos"))]
    fn control_and_alt_make_third_characters() {
        let events = [
            press(Pressed::LeftCtrl),
            press(Pressed::RightAlt),
            typed('@'),
        ];
        assert_eq!(inputs(&events), [Input::Char('@')]);
        assert_eq!(inputs(&[press(Pressed::LeftAlt), typed('x')]), []);
    }

    #[test]
    fn control_and_plus_enlarge() {
        let events = [press(Pressed::LeftCtrl), press(Pressed::Equal)];
        assert_eq!(inputs(&events), [Input::Zoom(Ordering::Greater)]);
    }

    #[test]
    fn modifiers_are_let_go_when_the_focus_is_lost() {
        let backspace = |keyboard: &mut Keyboard, active: bool| {
            keyboard.set_active(active);
            let mut listener = keyboard.listener();
            listener.set_key_state(Pressed::Backspace, true);
            listener.set_key_state(Pressed::Backspace, false);
            keyboard.read()
        };
        let with = |ctrl| {
            let held = Modifiers { shift: false, ctrl };
            Some(Input::Key(Key::Backspace, held))
        };
        let mut keyboard = Keyboard::default();
        keyboard.listener().set_key_state(Pressed::LeftCtrl, true);
        assert_eq!(keyboard.read(), None);
        // without a window manager the window never has the focus
        assert_eq!(backspace(&mut keyboard, false), with(true));
        assert_eq!(backspace(&mut keyboard, false), with(true));
        assert_eq!(backspace(&mut keyboard, true), with(true));
        assert_eq!(backspace(&mut keyboard, false), with(false));
    }
}
