//! Where a render can be shown.

use std::io::IsTerminal;

use super::display::Display;

/// Where a render is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preview {
    /// In a window.
    Window,
    /// In the terminal.
    Terminal,
    /// Nowhere.
    None,
}

/// Why a render cannot be shown somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreviewError {
    /// There is no display.
    #[error(
        "there is no display for the window (DISPLAY is not set): use `--preview web` for a page in the browser, `--preview terminal`, or `--preview none` \
         with `--control -` to steer by standard input, or edit the recipe while `render --watch` runs"
    )]
    NoDisplay,
    /// DISPLAY names a display that does not answer.
    #[error(
        "the display for the window does not answer (DISPLAY is {}): check that its server is running and that this program may use it, or use \
         `--preview terminal` or `--preview none`",
        std::env::var("DISPLAY").unwrap_or_default()
    )]
    DeadDisplay,
    /// The display is not of X11.
    #[error(
        "the window needs X11, and DISPLAY is not set: start Xwayland (most Wayland desktops do by themselves), or use \
         `--preview terminal`"
    )]
    WaylandAlone,
    /// Standard output is no terminal.
    #[error("`--preview terminal` needs standard output to be a terminal: use `--preview none`")]
    NoTerminal,
}

/// The displays that the program runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Whether a window can be opened, or why not.
    pub window: Result<(), PreviewError>,
    /// Whether standard output is a terminal.
    pub terminal: bool,
}

impl Environment {
    /// The environment of this process.
    pub fn current() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_named = cfg!(any(windows, target_os = "macos")) || is_set("DISPLAY");
        let window = if is_named {
            let display = Display::connect();
            display.map(drop).ok_or(PreviewError::DeadDisplay)
        } else if is_set("WAYLAND_DISPLAY") {
            Err(PreviewError::WaylandAlone)
        } else {
            Err(PreviewError::NoDisplay)
        };
        let terminal = std::io::stdout().is_terminal();
        Self { window, terminal }
    }

    /// Checks that a render can be shown as requested.
    ///
    /// # Errors
    /// When it cannot, with what to do instead.
    pub fn check(&self, wanted: Preview) -> Result<(), PreviewError> {
        match wanted {
            Preview::Window => self.window,
            Preview::Terminal if !self.terminal => Err(PreviewError::NoTerminal),
            Preview::Terminal | Preview::None => Ok(()),
        }
    }

    /// The best preview that there is, and a line that says so if it is not the window.
    pub fn best(&self) -> (Preview, Option<&'static str>) {
        if self.window.is_ok() {
            (Preview::Window, None)
        } else if self.terminal {
            let notice = "there is no display: the picture shows in the terminal (`--preview none` leaves it out)";
            (Preview::Terminal, Some(notice))
        } else {
            let notice = "there is neither display nor terminal: the picture does not show while it is painted";
            (Preview::None, Some(notice))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Environment = Environment {
        window: Ok(()),
        terminal: false,
    };

    fn without(why: PreviewError, terminal: bool) -> Environment {
        Environment {
            window: Err(why),
            terminal,
        }
    }

    #[test]
    fn the_best_is_a_window_then_the_terminal() {
        assert_eq!(WINDOW.best(), (Preview::Window, None));
        let (preview, notice) = without(PreviewError::NoDisplay, true).best();
        assert!(preview == Preview::Terminal && notice.is_some());
        let (preview, notice) = without(PreviewError::WaylandAlone, false).best();
        assert!(preview == Preview::None && notice.is_some());
    }

    #[test]
    fn without_a_display_it_says_what_to_do() {
        let words = PreviewError::NoDisplay.to_string();
        for remedy in ["--preview terminal", "--control -", "--watch"] {
            assert!(words.contains(remedy), "{words}");
        }
    }

    #[test]
    fn a_window_needs_a_display_that_answers() {
        assert_eq!(WINDOW.check(Preview::Window), Ok(()));
        for why in [
            PreviewError::NoDisplay,
            PreviewError::DeadDisplay,
            PreviewError::WaylandAlone,
        ] {
            assert_eq!(without(why, true).check(Preview::Window), Err(why));
            assert_eq!(without(why, true).check(Preview::Terminal), Ok(()));
        }
    }

    #[test]
    fn a_picture_goes_into_no_pipe() {
        let found = WINDOW.check(Preview::Terminal);
        assert_eq!(found, Err(PreviewError::NoTerminal));
        assert_eq!(WINDOW.check(Preview::None), Ok(()));
    }
}
