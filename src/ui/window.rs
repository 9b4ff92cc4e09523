//! A window. It belongs to the main thread; the worker lives on another, and neither waits for the other.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use minifb::{CursorStyle, ScaleMode, WindowOptions};

use crate::draw::Canvas;
use crate::live::{Mailbox, Task, Worker};

use super::display::Display;
use super::keyboard::Keyboard;
use super::layout::growth;
use super::mouse::{Click, Mouse};
use super::pace::{Pace, Redraw, Redraws};
use super::panel::{Action, Input};

/// A new window leaves this share of the screen free.
const MARGIN: f32 = 0.08;
/// While the user is active, clicks and keys are polled this often.
const LIVELY: Duration = Duration::from_millis(8);
/// Otherwise this often.
const IDLE: Duration = Duration::from_millis(33);
/// The user counts as active this long after the last key or movement.
const ATTENTION: Duration = Duration::from_secs(2);
/// The pixels go to the screen at least this often: they are lost where another window lay on this one.
const REFRESH: Duration = Duration::from_millis(700);
/// Two clicks within this time are one double click.
const DOUBLE: Duration = Duration::from_millis(400);
/// How far the pointer may move between them, in pixels.
const DOUBLE_REACH: f32 = 5.0;
/// What one press multiplies the scale by.
const ZOOM: f32 = 1.1;
const ZOOMS: (f32, f32) = (0.5, 4.0);

/// The content of a window: what it shows of a worker's frames, and what the user's input does.
pub trait Content: Sized {
    /// What the worker shows.
    type Frame;
    /// What the user sends to the worker.
    type Command;
    /// The command that ends the worker.
    const STOP: Self::Command;
    /// The window's size at first, in logical pixels.
    const SIZE: (f32, f32);

    /// The content before the first frame.
    fn new() -> Result<Self>;

    /// How often new frames are drawn.
    fn pace() -> Pace;

    /// Takes a newer frame.
    fn show(&mut self, frame: Self::Frame, now: Instant);

    /// Shows that something went wrong.
    fn fail(&mut self, text: &str, now: Instant);

    /// Draws everything in a size in pixels, with `scale` pixels to a logical one; `newer` if the frame is another than the last time.
    fn paint(&mut self, size: (usize, usize), scale: f32, newer: bool, now: Instant);

    /// What was drawn last.
    fn canvas(&self) -> &Canvas;

    /// Handles a key or a text.
    fn input(&mut self, input: &Input, now: Instant) -> Vec<Action<Self::Command>>;

    /// Handles a press of the mouse's button, at a place in pixels; `double` if it is the second in a short time.
    fn press(
        &mut self,
        at: (f32, f32),
        shift: bool,
        double: bool,
        now: Instant,
    ) -> Vec<Action<Self::Command>>;

    /// Handles a move of the pointer with the button held.
    fn drag(&mut self, at: (f32, f32), now: Instant) -> Vec<Action<Self::Command>>;

    /// Handles the release of the button.
    fn release(&mut self, _now: Instant) -> Vec<Action<Self::Command>> {
        vec![]
    }

    /// How the pointer looks at a place.
    fn cursor(&self, _at: (f32, f32)) -> CursorStyle {
        CursorStyle::Arrow
    }

    /// When something changes without input the next time.
    fn next_change(&self) -> Option<Instant> {
        None
    }

    /// Does what is due by now.
    fn tick(&mut self, _now: Instant) -> Vec<Action<Self::Command>> {
        vec![]
    }

    /// Handles the closing of the window.
    fn close(&mut self, _now: Instant) -> Vec<Action<Self::Command>> {
        vec![Action::Close]
    }
}

/// An open window.
pub struct Window<C: Content> {
    window: minifb::Window,
    keyboard: Keyboard,
    mouse: Mouse,
    clipboard: Option<arboard::Clipboard>,
    content: C,
    /// The display's pixels to a logical one.
    scale: f32,
    /// The factor by which the user enlarges everything.
    zoom: f32,
    unsent: VecDeque<C::Command>,
    pointer: Pointer,
    closed: bool,
}

/// The mouse.
#[derive(Debug, Default)]
struct Pointer {
    at: Option<(f32, f32)>,
    down: bool,
    /// When and where it was pressed last.
    pressed: Option<(Duration, (f32, f32))>,
    /// How it looks, if it was set.
    style: Option<CursorStyle>,
}

impl<C: Content> Window<C> {
    /// Opens the window, on the thread that will [`Window::run`] it: the main thread, which some systems require.
    ///
    /// # Errors
    /// When there is no display, or it gives no window.
    pub fn open(title: &str) -> Result<Self> {
        let display = Display::current();
        let room = |wanted: f32, screen: Option<usize>| {
            let most = screen.map_or(f32::MAX, |screen| screen as f32 * (1.0 - MARGIN));
            (wanted * display.scale).min(most) as usize
        };
        let width = room(C::SIZE.0, display.size.map(|size| size.0));
        let height = room(C::SIZE.1, display.size.map(|size| size.1));
        let options = WindowOptions {
            resize: true,
            scale_mode: ScaleMode::UpperLeft,
            ..WindowOptions::default()
        };
        let title = plain(title);
        let opened = catch_unwind(|| minifb::Window::new(&title, width, height, options));
        let mut window = (opened.map_err(|_| anyhow!("the display broke the connection")))
            .and_then(|opened| opened.map_err(|error| anyhow!("{error}")))
            .context("cannot open a window")?;
        // the loop below keeps time by itself
        window.set_target_fps(0);
        let keyboard = Keyboard::default();
        window.set_input_callback(keyboard.listener());
        Ok(Self {
            mouse: Mouse::new(&window),
            window,
            keyboard,
            clipboard: None,
            content: C::new()?,
            scale: display.scale,
            zoom: 1.0,
            unsent: VecDeque::new(),
            pointer: Pointer::default(),
            closed: false,
        })
    }

    /// Sets the window's title.
    pub fn set_title(&mut self, title: &str) {
        self.window.set_title(&plain(title));
    }

    /// Shows the worker's frames and sends it the user's commands, until the window is closed or the worker has ended. The worker is sent
    /// a command to stop in any case.
    ///
    /// # Errors
    /// When the display breaks down. The worker is sent a command to stop all the same, and saves.
    pub fn run<T>(mut self, worker: &Worker<T>) -> Result<()>
    where
        T: Task<Frame = C::Frame, Command = C::Command>,
    {
        let (frames, commands) = (worker.frames(), worker.commands());
        // the windowing library panics on some errors
        let result = catch_unwind(AssertUnwindSafe(|| {
            self.serve(&frames, &commands, &|| worker.is_done())
        }));
        // nothing may get lost now, so these wait for room in the channel; a worker that has ended needs no command
        for command in self.unsent.drain(..).chain([C::STOP]) {
            if commands.send(command).is_err() {
                break;
            }
        }
        result.unwrap_or_else(|_| bail!("the window broke down; the run is stopped and saved"))
    }

    fn serve(
        &mut self,
        frames: &Mailbox<C::Frame>,
        commands: &SyncSender<C::Command>,
        is_over: &dyn Fn() -> bool,
    ) -> Result<()> {
        let mut attention: Option<Instant> = None;
        let mut redraws = Redraws::new(C::pace(), REFRESH, Instant::now());
        loop {
            let begin = Instant::now();
            // while the user is not active, a frame is requested only when it can be drawn
            let mut attentive = attention.is_some_and(|last| begin < last + ATTENTION);
            if (attentive || redraws.is_ready(begin))
                && let Some(frame) = frames.take()
            {
                self.content.show(frame, begin);
                redraws.newer();
            }
            let changed = self.content.next_change();
            let due = self.content.tick(begin);
            if changed.is_some_and(|change| change <= begin) {
                redraws.touch();
            }
            self.perform(due, begin);
            let typed = self.read_keyboard(begin);
            let (clicked, moved) = self.read_mouse(begin);
            if typed || clicked {
                redraws.touch();
            }
            if typed || clicked || moved {
                attention = Some(begin);
                attentive = true;
            }
            if !self.window.is_open() {
                let actions = self.content.close(begin);
                self.perform(actions, begin);
                self.closed = true;
            }
            self.deliver(commands);
            if self.closed || is_over() {
                return Ok(());
            }
            let size = self.window.get_size();
            let redraw = redraws.decide(size, begin);
            match redraw {
                Redraw::Paint { picture } => {
                    let scale = self.scale * growth(size, self.scale) * self.zoom;
                    self.content.paint(size, scale, picture, begin);
                    self.blit(size)?;
                }
                Redraw::Show => self.blit(size)?,
                Redraw::Nothing => self.window.update(),
            }
            redraws.done(redraw, begin, begin.elapsed());
            let pace = if attentive { LIVELY } else { IDLE };
            std::thread::sleep(pace.saturating_sub(begin.elapsed()));
        }
    }

    fn blit(&mut self, (width, height): (usize, usize)) -> Result<()> {
        let canvas = self.content.canvas();
        if canvas.bounds().is_empty() || (canvas.width(), canvas.height()) != (width, height) {
            // minimised to nothing
            self.window.update();
            return Ok(());
        }
        (self.window)
            .update_with_buffer(canvas.pixels(), width, height)
            .map_err(|error| anyhow!("{error}"))
            .context("cannot draw into the window")
    }

    /// Handles what was typed. Returns whether there was something.
    fn read_keyboard(&mut self, now: Instant) -> bool {
        self.keyboard.set_active(self.window.is_active());
        let mut some = false;
        while let Some(input) = self.keyboard.read() {
            some = true;
            if let Input::Zoom(direction) = input {
                let zoom = match direction {
                    Ordering::Greater => self.zoom * ZOOM,
                    Ordering::Less => self.zoom / ZOOM,
                    Ordering::Equal => 1.0,
                };
                self.zoom = zoom.clamp(ZOOMS.0, ZOOMS.1);
            } else {
                let actions = self.content.input(&input, now);
                self.perform(actions, now);
            }
        }
        some
    }

    /// Handles the mouse. Returns whether there was a click or a drag, and whether the pointer moved over the window.
    fn read_mouse(&mut self, now: Instant) -> (bool, bool) {
        let mut some = false;
        while let Some(click) = self.mouse.read(&self.window) {
            some = true;
            match click {
                Click::Press { at, when } => self.pressed(at, when, now),
                Click::Release(at) => {
                    // a drag may have ended since the last poll
                    if self.pointer.down && self.pointer.at != Some(at) {
                        self.dragged(at, now);
                    }
                    self.pointer.down = false;
                    let actions = self.content.release(now);
                    self.perform(actions, now);
                }
            }
        }
        let at = self.mouse.at(&self.window);
        if at == self.pointer.at {
            return (some, false);
        }
        self.pointer.at = at;
        let Some(at) = at else {
            return (some, false);
        };
        let style = self.content.cursor(at);
        if self.pointer.style.replace(style) != Some(style) {
            self.window.set_cursor_style(style);
        }
        if self.pointer.down {
            self.dragged(at, now);
            return (true, true);
        }
        let (width, height) = self.window.get_size();
        let inside = |at: f32, size: usize| (0.0..size as f32).contains(&at);
        (some, inside(at.0, width) && inside(at.1, height))
    }

    /// Handles a press of the button.
    fn pressed(&mut self, at: (f32, f32), when: Duration, now: Instant) {
        let double = self.pointer.pressed.is_some_and(|(before, place)| {
            let near = (at.0 - place.0).hypot(at.1 - place.1) < DOUBLE_REACH;
            near && when.saturating_sub(before) < DOUBLE
        });
        // a third click is a first one again
        self.pointer.pressed = (!double).then_some((when, at));
        self.pointer.down = true;
        self.pointer.at = Some(at);
        let actions = (self.content).press(at, self.keyboard.shift(), double, now);
        self.perform(actions, now);
    }

    /// Handles a move of the pointer with the button held.
    fn dragged(&mut self, at: (f32, f32), now: Instant) {
        let actions = self.content.drag(at, now);
        self.perform(actions, now);
    }

    fn perform(&mut self, actions: Vec<Action<C::Command>>, now: Instant) {
        for action in actions {
            let done = match action {
                Action::Send(command) => {
                    self.unsent.push_back(command);
                    Ok(())
                }
                Action::Copy(text) => self.copy(text),
                Action::Paste => self.pasted().map(|text| {
                    let actions = self.content.input(&Input::Pasted(text), now);
                    self.perform(actions, now);
                }),
                Action::Close => {
                    self.closed = true;
                    Ok(())
                }
            };
            if let Err(error) = done {
                self.content.fail(&format!("{error:#}"), now);
            }
        }
    }

    fn copy(&mut self, text: String) -> Result<()> {
        let copied = self.clipboard()?.set_text(text);
        copied.context("cannot reach the clipboard")
    }

    fn pasted(&mut self) -> Result<String> {
        match self.clipboard()?.get_text() {
            Err(arboard::Error::ContentNotAvailable) => bail!("The clipboard has no text"),
            text => text.context("cannot read the clipboard"),
        }
    }

    fn clipboard(&mut self) -> Result<&mut arboard::Clipboard> {
        match &mut self.clipboard {
            Some(clipboard) => Ok(clipboard),
            none => {
                let clipboard = arboard::Clipboard::new().context("cannot reach the clipboard")?;
                Ok(none.insert(clipboard))
            }
        }
    }

    /// Sends the commands that are waiting, as far as there is room for them.
    fn deliver(&mut self, commands: &SyncSender<C::Command>) {
        while let Some(command) = self.unsent.pop_front() {
            match commands.try_send(command) {
                Ok(()) => {}
                Err(TrySendError::Full(command)) => {
                    self.unsent.push_front(command);
                    break;
                }
                Err(TrySendError::Disconnected(_)) => self.unsent.clear(),
            }
        }
    }
}

/// A title without zero bytes, which some systems refuse.
fn plain(title: &str) -> String {
    title.replace('\0', " ")
}
