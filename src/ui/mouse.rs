//! The mouse's left button, press by press.
//!
//! The windowing library reports only whether the button is down at the moment, so a press and a release between two polls, as a tap on a
//! touchpad makes, would be lost. On X11 an invisible window of our own on top of the library's receives the events in order, with the
//! place of each press. Elsewhere the state is compared from poll to poll.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use minifb::{MouseButton, MouseMode};

/// An event of the left button.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Click {
    /// It is pressed, at a place in pixels of the window.
    Press {
        at: (f32, f32),
        /// The time since a fixed moment, the same for all presses: several presses may be read at once.
        when: Duration,
    },
    /// It is released, at a place in pixels of the window.
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

    /// Where the pointer is, also outside the window.
    pub(super) fn at(&self, window: &minifb::Window) -> Option<(f32, f32)> {
        window.get_mouse_pos(MouseMode::Pass)
    }

    /// The next event of the button that has not been read yet.
    pub(super) fn read(&mut self, window: &minifb::Window) -> Option<Click> {
        if self.clicks.is_empty() {
            self.poll(window);
        }
        self.clicks.pop_front()
    }

    fn poll(&mut self, window: &minifb::Window) {
        #[cfg(all(unix, not(target_os = "macos")))]
        if let Some(overlay) = &self.overlay {
            if overlay.read(&mut self.clicks).is_err() {
                // the connection is lost: fall back to polling
                self.overlay = None;
            }
            return;
        }
        self.compare(window);
    }

    /// Compares the button's state with that of the last poll.
    fn compare(&mut self, window: &minifb::Window) {
        let down = window.get_mouse_down(MouseButton::Left);
        if down == self.down {
            return;
        }
        self.down = down;
        let (at, when) = (
            self.at(window).unwrap_or((-1.0, -1.0)),
            self.since.elapsed(),
        );
        self.clicks.push_back(if down {
            Click::Press { at, when }
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
    use x11rb::errors::ConnectionError;
    use x11rb::protocol::Event;
    use x11rb::protocol::xproto::{ConnectionExt, CreateWindowAux, EventMask, WindowClass};
    use x11rb::rust_connection::RustConnection;

    use super::Click;

    /// Larger than any window, so that it need not be resized with the one below it.
    const SIDE: u16 = 32_767;
    const LEFT: u8 = 1;

    /// An invisible window on top of the windowing library's. X11 reports the presses in a window to one client only, and for the lower window
    /// that is the windowing library. Keys pass through to it.
    #[derive(Debug)]
    pub(super) struct Overlay(RustConnection);

    impl Overlay {
        /// `None` if the display does not allow it.
        pub(super) fn over(below: &minifb::Window) -> Option<Self> {
            let parent = u32::try_from(below.get_window_handle() as usize).ok()?;
            let (connection, _) = x11rb::connect(None).ok()?;
            let window = connection.generate_id().ok()?;
            let events = EventMask::BUTTON_PRESS | EventMask::BUTTON_RELEASE;
            let aux = CreateWindowAux::new().event_mask(events);
            let class = WindowClass::INPUT_ONLY;
            let (depth, border, visual) = (0, 0, x11rb::COPY_FROM_PARENT);
            let created = connection.create_window(
                depth, window, parent, 0, 0, SIDE, SIDE, border, class, visual, &aux,
            );
            created.ok()?.check().ok()?;
            connection.map_window(window).ok()?.check().ok()?;
            Some(Self(connection))
        }

        /// Collects the events since the last call.
        pub(super) fn read(&self, clicks: &mut VecDeque<Click>) -> Result<(), ConnectionError> {
            while let Some(event) = self.0.poll_for_event()? {
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
            Ok(())
        }
    }
}
