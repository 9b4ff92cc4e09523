//! What the user does, and what is to be done about it outside of the panel.

use std::cmp::Ordering;

use crate::live::Command;

/// A key that is not a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Enter,
    Escape,
    Tab,
    Backspace,
    Delete,
    Left,
    Right,
    Up,
    Down,
    Home,
    End,
}

/// Modifier keys that are held with another key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modifiers {
    pub shift: bool,
    /// Control, or the option key on a Mac: moves by words.
    pub ctrl: bool,
}

/// What a key press with control means to a line of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortcut {
    Paste,
    Copy,
    Cut,
    SelectAll,
    /// Removes the text before the caret.
    CutToStart,
    /// Removes the text after the caret.
    CutToEnd,
    Undo,
}

/// What is at a place of the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// A prompt, and the offset in its text in bytes.
    Prompt(usize, usize),
    /// The line that adds a prompt.
    Add,
    /// The button of the help.
    Help,
    /// The picture and the ground around it: the place as shares of the picture's width and height, which are outside of 0..=1 beside it.
    Picture([f64; 2]),
    /// Anything else.
    Elsewhere,
}

/// Something that the user does.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A character is typed.
    Char(char),
    /// Another key is pressed.
    Key(Key, Modifiers),
    /// A key is pressed with control.
    Shortcut(Shortcut),
    /// Everything is made larger or smaller, or as large as at first. The window itself does it.
    Zoom(Ordering),
    /// The clipboard's text arrives.
    Pasted(String),
    /// A click; `double` if it is the second in a short time at the same place.
    Click {
        target: Target,
        shift: bool,
        double: bool,
    },
    /// The pointer is moved with its button held.
    Drag(Target),
    /// The button is released.
    Release,
}

/// Something that is to be done outside of the panel. `C` is the type of the worker's commands.
#[derive(Clone, Debug, PartialEq)]
pub enum Action<C = Command> {
    /// Sends the worker a command.
    Send(C),
    /// Puts a text into the clipboard.
    Copy(String),
    /// Asks the clipboard for its text, which comes back as [`Input::Pasted`].
    Paste,
    /// Closes the window.
    Close,
}
