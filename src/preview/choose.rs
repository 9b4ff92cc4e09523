//! Where a render is shown.

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

/// What is around the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// A window can be opened: there is a display, and it answers.
    pub display: bool,
    /// DISPLAY names a display that does not answer.
    pub display_is_dead: bool,
    /// There is a Wayland display, but none of X11.
    pub wayland_alone: bool,
    /// Standard output is a terminal.
    pub terminal: bool,
}

/// Why a window cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPreview {
    /// There is no display at all.
    #[error(
        "there is no display for the window (DISPLAY is not set): take `--preview terminal`, or `--preview none` \
         with `--control -` to steer by standard input, or edit the recipe while `render --watch` paints it"
    )]
    NoDisplay,
    /// DISPLAY names a display that does not answer.
    #[error(
        "the display for the window does not answer (DISPLAY is {}): check that its server is running and that this program may use it, or use \
         `--preview terminal` or `--preview none`",
        std::env::var("DISPLAY").unwrap_or_default()
    )]
    DeadDisplay,
    /// The window talks to X11 alone.
    #[error(
        "the window needs X11, and DISPLAY is not set: start Xwayland (most Wayland desktops do by themselves), or take \
         `--preview terminal`"
    )]
    WaylandAlone,
    /// Standard output goes elsewhere.
    #[error("`--preview terminal` needs standard output to be a terminal: take `--preview none`")]
    NoTerminal,
}

impl Surroundings {
    /// What is around the program now.
    pub fn now() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let everywhere = cfg!(any(windows, target_os = "macos"));
        let named = everywhere || is_set("DISPLAY");
        let display = named && Display::answers();
        Self {
            display,
            display_is_dead: named && !display,
            wayland_alone: !named && is_set("WAYLAND_DISPLAY"),
            terminal: std::io::stdout().is_terminal(),
        }
    }

    /// Whether what is asked for can be.
    ///
    /// # Errors
    /// When it cannot, with what to do instead.
    pub fn check(&self, wanted: Preview) -> Result<(), NoPreview> {
        match wanted {
            Preview::Window if self.display => Ok(()),
            Preview::Window if self.display_is_dead => Err(NoPreview::DeadDisplay),
            Preview::Window if self.wayland_alone => Err(NoPreview::WaylandAlone),
            Preview::Window => Err(NoPreview::NoDisplay),
            Preview::Terminal if !self.terminal => Err(NoPreview::NoTerminal),
            Preview::Terminal | Preview::None => Ok(()),
        }
    }

    /// The best that there is, and a line that says so where it is not the window.
    pub fn best(&self) -> (Preview, Option<&'static str>) {
        match () {
            () if self.display => (Preview::Window, None),
            () if self.terminal => (
                Preview::Terminal,
                Some(
                    "there is no display: the picture shows in the terminal (`--preview none` leaves it out)",
                ),
            ),
            () => (
                Preview::None,
                Some(
                    "there is neither display nor terminal: the picture does not show while it is painted",
                ),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(display: bool, wayland_alone: bool, terminal: bool) -> Surroundings {
        Surroundings {
            display,
            display_is_dead: false,
            wayland_alone,
            terminal,
        }
    }

    #[test]
    fn the_best_is_a_window_then_the_terminal() {
        assert_eq!(around(true, false, true).best(), (Preview::Window, None));
        let (preview, notice) = around(false, false, true).best();
        assert!(preview == Preview::Terminal && notice.is_some());
        let (preview, notice) = around(false, true, false).best();
        assert!(preview == Preview::None && notice.is_some());
    }

    #[test]
    fn without_a_display_it_says_what_to_do() {
        let error = around(false, false, true)
            .check(Preview::Window)
            .expect_err("no display");
        let words = error.to_string();
        for remedy in ["--preview terminal", "--control -", "--watch"] {
            assert!(words.contains(remedy), "{words}");
        }
        assert_eq!(
            around(false, true, true).check(Preview::Window),
            Err(NoPreview::WaylandAlone)
        );
        assert_eq!(around(true, false, false).check(Preview::Window), Ok(()));
    }

    #[test]
    fn a_display_that_does_not_answer_is_none() {
        let around = Surroundings {
            display_is_dead: true,
            ..around(false, false, true)
        };
        assert_eq!(around.check(Preview::Window), Err(NoPreview::DeadDisplay));
        assert_eq!(around.best().0, Preview::Terminal);
    }

    #[test]
    fn a_picture_goes_into_no_pipe() {
        assert_eq!(
            around(true, false, false).check(Preview::Terminal),
            Err(NoPreview::NoTerminal)
        );
        assert_eq!(around(false, false, false).check(Preview::None), Ok(()));
    }
}
