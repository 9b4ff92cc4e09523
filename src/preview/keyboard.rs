//! From what the windowing library reports of the keyboard to what the panel understands.
//!
//! Characters come as the keyboard's layout and the input method make them; keys come as they are pressed, each press and each
//! repeat in order. Commands go by characters, so that `+` is `+` on every layout; movements go by keys.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use minifb::{InputCallback, Key as Pressed};

use super::panel::{Held, Input, Key, Shortcut};

/// More than this is not typed between two looks; what comes beyond is dropped.
const MOST: usize = 4096;

/// What is reported.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Key(Pressed, bool),
    Char(u32),
}

/// What a key press means.
#[derive(Clone, Debug, PartialEq)]
pub enum Meaning {
    /// For the panel.
    Input(Input),
    /// Text and panel larger, smaller, or as at first.
    Zoom(std::cmp::Ordering),
}

/// Events in the order in which they came, and the modifiers that are held.
#[derive(Debug, Default)]
pub struct Keyboard {
    events: Rc<RefCell<VecDeque<Event>>>,
    shift: [bool; 2],
    ctrl: [bool; 2],
    alt: [bool; 2],
    command: [bool; 2],
    /// Whether the window had the keyboard at the last look.
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
    /// What the windowing library is to call.
    pub fn listener(&self) -> Box<dyn InputCallback> {
        Box::new(Listener(Rc::clone(&self.events)))
    }

    /// Whether shift is held.
    pub fn shift(&self) -> bool {
        self.shift.contains(&true)
    }

    /// Takes note of whether the window has the keyboard. Once it has lost it, no modifier is held any more: their release is not reported.
    /// Where no window manager gives windows the focus, keys arrive all the same, and modifiers count as long as they are held.
    pub fn set_active(&mut self, active: bool) {
        let lost = self.active && !active;
        self.active = active;
        if lost {
            self.release();
        }
    }

    fn release(&mut self) {
        for held in [
            &mut self.shift,
            &mut self.ctrl,
            &mut self.alt,
            &mut self.command,
        ] {
            *held = [false; 2];
        }
    }

    /// The next thing that was typed.
    pub fn read(&mut self) -> Option<Meaning> {
        loop {
            let event = self.events.borrow_mut().pop_front()?;
            let meaning = match event {
                Event::Key(key, down) => self.key(key, down),
                Event::Char(code) => self.char(code).map(Meaning::Input),
            };
            if meaning.is_some() {
                return meaning;
            }
        }
    }

    fn key(&mut self, key: Pressed, down: bool) -> Option<Meaning> {
        match key {
            Pressed::LeftShift => self.shift[0] = down,
            Pressed::RightShift => self.shift[1] = down,
            Pressed::LeftCtrl => self.ctrl[0] = down,
            Pressed::RightCtrl => self.ctrl[1] = down,
            Pressed::LeftAlt => self.alt[0] = down,
            Pressed::RightAlt => self.alt[1] = down,
            Pressed::LeftSuper => self.command[0] = down,
            Pressed::RightSuper => self.command[1] = down,
            _ => {}
        }
        if !down {
            return None;
        }
        let is_mac = cfg!(target_os = "macos");
        let [ctrl, alt, command] =
            [self.ctrl, self.alt, self.command].map(|held| held.contains(&true));
        let input = |key| {
            let held = Held {
                shift: self.shift(),
                ctrl: if is_mac { alt } else { ctrl },
            };
            Some(Meaning::Input(Input::Key(key, held)))
        };
        let shortcut = |shortcut| Some(Meaning::Input(Input::Shortcut(shortcut)));
        match key {
            Pressed::Enter | Pressed::NumPadEnter => input(Key::Enter),
            Pressed::Escape => input(Key::Escape),
            Pressed::Tab => input(Key::Tab),
            Pressed::Backspace => input(Key::Backspace),
            Pressed::Delete => input(Key::Delete),
            Pressed::Left if is_mac && command => input(Key::Home),
            Pressed::Right if is_mac && command => input(Key::End),
            Pressed::Left => input(Key::Left),
            Pressed::Right => input(Key::Right),
            Pressed::Up => input(Key::Up),
            Pressed::Down => input(Key::Down),
            Pressed::Home => input(Key::Home),
            Pressed::End => input(Key::End),
            Pressed::Insert if self.shift() => shortcut(Shortcut::Paste),
            Pressed::Insert if ctrl => shortcut(Shortcut::Copy),
            // elsewhere these come as control characters, whatever the layout
            Pressed::V if is_mac && command => shortcut(Shortcut::Paste),
            Pressed::C if is_mac && command => shortcut(Shortcut::Copy),
            Pressed::X if is_mac && command => shortcut(Shortcut::Cut),
            Pressed::A if is_mac && command => shortcut(Shortcut::SelectAll),
            Pressed::Z if is_mac && command => shortcut(Shortcut::Undo),
            Pressed::Equal | Pressed::NumPadPlus if ctrl || command => {
                Some(Meaning::Zoom(std::cmp::Ordering::Greater))
            }
            Pressed::Minus | Pressed::NumPadMinus if ctrl || command => {
                Some(Meaning::Zoom(std::cmp::Ordering::Less))
            }
            Pressed::Key0 if ctrl || command => Some(Meaning::Zoom(std::cmp::Ordering::Equal)),
            _ => None,
        }
    }

    fn char(&self, code: u32) -> Option<Input> {
        let c = char::from_u32(code)?;
        let [ctrl, alt, command] =
            [self.ctrl, self.alt, self.command].map(|held| held.contains(&true));
        if c.is_control() {
            if !ctrl || cfg!(target_os = "macos") {
                return None;
            }
            return match c {
                '\u{1}' => Some(Input::Shortcut(Shortcut::SelectAll)),
                '\u{3}' => Some(Input::Shortcut(Shortcut::Copy)),
                '\u{b}' => Some(Input::Shortcut(Shortcut::CutToEnd)),
                '\u{15}' => Some(Input::Shortcut(Shortcut::CutToStart)),
                '\u{16}' => Some(Input::Shortcut(Shortcut::Paste)),
                '\u{18}' => Some(Input::Shortcut(Shortcut::Cut)),
                '\u{1a}' => Some(Input::Shortcut(Shortcut::Undo)),
                _ => None,
            };
        }
        // with both, it is the key for third characters; on a Mac, alt alone is
        let typed = match (ctrl, alt) {
            (false, false) => true,
            (true, true) => true,
            (false, true) => cfg!(target_os = "macos"),
            (true, false) => false,
        };
        // Macs report their function keys as private characters
        let private = ('\u{f700}'..='\u{f8ff}').contains(&c);
        (typed && !command && !private).then_some(Input::Char(c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meanings(events: &[Event]) -> Vec<Meaning> {
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

    fn inputs(events: &[Event]) -> Vec<Input> {
        (meanings(events).into_iter())
            .filter_map(|meaning| match meaning {
                Meaning::Input(input) => Some(input),
                Meaning::Zoom(_) => None,
            })
            .collect()
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
        let keys = [Key::Enter, Key::Backspace].map(|key| Input::Key(key, Held::default()));
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
        let held = |shift, ctrl| Held { shift, ctrl };
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
        assert_eq!(
            meanings(&events),
            [Meaning::Zoom(std::cmp::Ordering::Greater)]
        );
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
            let held = Held { shift: false, ctrl };
            Some(Meaning::Input(Input::Key(Key::Backspace, held)))
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
