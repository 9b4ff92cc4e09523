//! The mouse's left button, press by press.
//!
//! The windowing library tells only whether the button is down at the moment, so that a press and a release between two looks, as a tap on
//! a touchpad makes them, would be lost. On X11 an invisible window of our own lies on top of the library's and keeps what happens to it in
//! order, with the place of each press. Elsewhere the state is compared from look to look.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use minifb::{MouseButton, MouseMode};

/// What the left button does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Click {
    /// It is pressed, at a place in pixels of the window.
    Press {
        at: (f32, f32),
        /// When, since some moment that is the same for all presses. Two may be read at once that were made one after the other.
        when: Duration,
    },
    /// It is let go.
    Release((f32, f32)),
}

/// The mouse over a window.
#[derive(Debug)]
pub(super) struct Mouse {
    #[cfg(all(unix, not(target_os = "macos")))]
    overlay: Option<overlay::Overlay>,
    clicks: VecDeque<Click>,
    down: bool,
    since: Instant,
}

impl Mouse {
    /// Watches the mouse over a window.
    pub(super) fn new(window: &minifb::Window) -> Self {
        #[cfg(not(all(unix, not(target_os = "macos"))))]
        let _ = window;
        Self {
            #[cfg(all(unix, not(target_os = "macos")))]
            overlay: overlay::Overlay::over(window),
            clicks: VecDeque::new(),
            down: false,
            since: Instant::now(),
        }
    }

    /// Where the pointer is, also beside the window.
    pub(super) fn at(&self, window: &minifb::Window) -> Option<(f32, f32)> {
        window.get_mouse_pos(MouseMode::Pass)
    }

    /// The next thing that the button did since it was asked about last.
    pub(super) fn read(&mut self, window: &minifb::Window) -> Option<Click> {
        if self.clicks.is_empty() {
            self.look(window);
        }
        self.clicks.pop_front()
    }

    #[cfg(all(unix, not(target_os = "macos")))]
    fn look(&mut self, window: &minifb::Window) {
        match &self.overlay {
            Some(overlay) => {
                if !overlay.read(&mut self.clicks) {
                    // its connection broke down, and the window goes with it or not
                    self.overlay = None;
                }
            }
            None => self.compare(window),
        }
    }

    #[cfg(not(all(unix, not(target_os = "macos"))))]
    fn look(&mut self, window: &minifb::Window) {
        self.compare(window);
    }

    /// Compares the button's state with that of the last time.
    fn compare(&mut self, window: &minifb::Window) {
        let down = window.get_mouse_down(MouseButton::Left);
        if down == self.down {
            return;
        }
        self.down = down;
        let at = self.at(window).unwrap_or((-1.0, -1.0));
        self.clicks.push_back(if down {
            Click::Press {
                at,
                when: self.since.elapsed(),
            }
        } else {
            Click::Release(at)
        });
    }
}

#[cfg(all(unix, not(target_os = "macos")))]
mod overlay {
    use std::collections::VecDeque;
    use std::time::Duration;

    use x11rb::connection::Connection;
    use x11rb::protocol::Event;
    use x11rb::protocol::xproto::{ConnectionExt, CreateWindowAux, EventMask, WindowClass};
    use x11rb::rust_connection::RustConnection;

    use super::Click;

    /// Wider and higher than any window, so that it need not be made larger with the one below it.
    const SIDE: u16 = 32_767;
    const LEFT: u8 = 1;

    /// An invisible window on top of the windowing library's. X11 tells one client alone of a window's presses, and that is the windowing
    /// library; keys go through to the window below.
    pub(super) struct Overlay {
        connection: RustConnection,
        window: u32,
    }

    impl std::fmt::Debug for Overlay {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_tuple("Overlay").field(&self.window).finish()
        }
    }

    impl Overlay {
        /// None where the display does not let us.
        pub(super) fn over(below: &minifb::Window) -> Option<Self> {
            let parent = u32::try_from(below.get_window_handle() as usize).ok()?;
            let (connection, _) = x11rb::connect(None).ok()?;
            let window = connection.generate_id().ok()?;
            let events = EventMask::BUTTON_PRESS | EventMask::BUTTON_RELEASE;
            let aux = CreateWindowAux::new().event_mask(events);
            (connection.create_window(
                0,
                window,
                parent,
                0,
                0,
                SIDE,
                SIDE,
                0,
                WindowClass::INPUT_ONLY,
                x11rb::COPY_FROM_PARENT,
                &aux,
            ))
            .ok()?
            .check()
            .ok()?;
            connection.map_window(window).ok()?.check().ok()?;
            Some(Self { connection, window })
        }

        /// Takes what has happened. Returns whether the connection still stands.
        pub(super) fn read(&self, clicks: &mut VecDeque<Click>) -> bool {
            loop {
                let event = match self.connection.poll_for_event() {
                    Ok(Some(event)) => event,
                    Ok(None) => return true,
                    Err(_) => return false,
                };
                let click = match event {
                    Event::ButtonPress(event) if event.detail == LEFT => Click::Press {
                        at: (event.event_x.into(), event.event_y.into()),
                        when: Duration::from_millis(event.time.into()),
                    },
                    Event::ButtonRelease(event) if event.detail == LEFT => {
                        Click::Release((event.event_x.into(), event.event_y.into()))
                    }
                    _ => continue,
                };
                clicks.push_back(click);
            }
        }
    }
}
