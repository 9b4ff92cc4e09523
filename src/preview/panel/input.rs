//! What a person does, and what is to be done about it outside of the panel.

use crate::live::Command;

/// A key that is not a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
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

/// Which keys are held with another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Shift.
    pub shift: bool,
    /// Control, or its like on a Mac: option for words.
    pub ctrl: bool,
}

/// What a key press with control means to a line of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortcut {
    /// Take the clipboard's text.
    Paste,
    /// Put the selected text into the clipboard.
    Copy,
    /// The same, and remove it.
    Cut,
    /// Select all.
    SelectAll,
    /// Remove what is before the caret.
    CutToStart,
    /// Remove what is after the caret.
    CutToEnd,
    /// Take the last change back.
    Undo,
}

/// Where a click went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A prompt, and the offset in its text in bytes.
    Prompt(usize, usize),
    /// The line that adds a prompt.
    Add,
    /// The button of the help.
    Help,
    /// The picture.
    Picture,
    /// Somewhere else.
    Elsewhere,
}

/// Something that a person does.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A character is typed.
    Char(char),
    /// Another key is pressed.
    Key(Key, Held),
    /// A key is pressed with control.
    Shortcut(Shortcut),
    /// The clipboard's text came.
    Pasted(String),
    /// A click; `double` if it is the second in a short time at the same place.
    Click {
        /// What is there.
        target: Target,
        /// With shift held.
        shift: bool,
        /// The second of two.
        double: bool,
    },
    /// The pointer is moved with its button held.
    Drag(Target),
}

/// Something that is to be done outside of the panel.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Tell the worker.
    Send(Command),
    /// Put a text into the clipboard.
    Copy(String),
    /// Ask the clipboard for its text, and hand it back as [`Input::Pasted`].
    Paste,
    /// Close the window.
    Close,
}
