//! The window. It belongs to the main thread; what paints lives on another, and neither waits for the other.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use minifb::{CursorStyle, ScaleMode, WindowOptions};

use crate::live::{Command, Frame, Mailbox, Severity};

use super::display::Display;
use super::keyboard::{Keyboard, Meaning};
use super::layout::growth;
use super::mouse::{Click, Mouse};
use super::pace::{Pace, Redraw, Redraws};
use super::paint::Painter;
use super::panel::{Action, Input, Panel, Target};

/// Size at first, in logical pixels.
const SIZE: (f32, f32) = (1040.0, 680.0);
/// It leaves this share of the screen free.
const MARGIN: f32 = 0.08;
/// While the user is active, clicks and keys are polled this often.
const LIVELY: Duration = Duration::from_millis(8);
/// Otherwise this often.
const IDLE: Duration = Duration::from_millis(33);
/// The user counts as active this long after the last key or movement.
const ATTENTION: Duration = Duration::from_secs(2);
/// So often at least the pixels go to the screen: they are lost where another window lay on this one.
const REFRESH: Duration = Duration::from_millis(700);
/// New pictures are drawn at most so often.
const FASTEST: Duration = Duration::from_millis(33);
/// Drawing new pictures takes at most this share of a machine's time: it is wanted for painting, where all cores wait for the one that is late.
const SHARE: f64 = 0.006;
/// Two clicks so close are one double click.
const DOUBLE: Duration = Duration::from_millis(400);
/// How far the pointer may move between them, in pixels.
const DOUBLE_REACH: f32 = 5.0;
/// What one press does to the scale.
const ZOOM: f32 = 1.1;
const ZOOMS: (f32, f32) = (0.5, 4.0);

/// An open window.
pub struct Window {
    window: minifb::Window,
    keyboard: Keyboard,
    mouse: Mouse,
    clipboard: Option<arboard::Clipboard>,
    painter: Painter,
    panel: Panel,
    /// The display's pixels to a logical one.
    scale: f32,
    /// What the user enlarges everything by.
    zoom: f32,
    unsent: VecDeque<Command>,
    pointer: Pointer,
}

/// The mouse.
#[derive(Debug, Default)]
struct Pointer {
    at: Option<(f32, f32)>,
    down: bool,
    /// When and where it was pressed last.
    pressed: Option<(Duration, (f32, f32))>,
    over_text: bool,
}

impl std::fmt::Debug for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Window")
            .field("panel", &self.panel)
            .finish_non_exhaustive()
    }
}

/// A window of the display, and its pixels to a logical one.
pub(super) struct Opened {
    pub(super) window: minifb::Window,
    pub(super) scale: f32,
}

/// Opens a window of a size in logical pixels, or of what the screen has room for.
pub(super) fn open(title: &str, size: (f32, f32)) -> Result<Opened> {
    let display = Display::current();
    let room = |wanted: f32, screen: Option<usize>| {
        let most = screen.map_or(f32::MAX, |screen| screen as f32 * (1.0 - MARGIN));
        (wanted * display.scale).min(most) as usize
    };
    let (width, height) = (
        room(size.0, display.size.map(|size| size.0)),
        room(size.1, display.size.map(|size| size.1)),
    );
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
    Ok(Opened {
        window,
        scale: display.scale,
    })
}

impl Window {
    /// Opens the window, on the thread that will [`Window::run`] it: the main thread, where systems care.
    ///
    /// # Errors
    /// When there is no display, or it gives no window.
    pub fn open(title: &str) -> Result<Self> {
        let Opened { mut window, scale } = open(title, SIZE)?;
        let keyboard = Keyboard::default();
        window.set_input_callback(keyboard.listener());
        Ok(Self {
            mouse: Mouse::new(&window),
            window,
            keyboard,
            clipboard: None,
            painter: Painter::new()?,
            panel: Panel::new(),
            scale,
            zoom: 1.0,
            unsent: VecDeque::new(),
            pointer: Pointer::default(),
        })
    }

    /// Sets the window's title.
    pub fn set_title(&mut self, title: &str) {
        self.window.set_title(&plain(title));
    }

    /// Shows frames and sends what the person asks for, until the window is closed or `is_over` says that nobody paints any more.
    /// [`Command::Stop`] is sent last, whatever ends it.
    ///
    /// # Errors
    /// When the display breaks down. The render is none the worse for it: it is told to stop, and saves.
    pub fn run(
        mut self,
        frames: &Mailbox<Frame>,
        commands: &SyncSender<Command>,
        is_over: &dyn Fn() -> bool,
    ) -> Result<()> {
        // some of what the windowing library meets makes it panic
        let result = catch_unwind(AssertUnwindSafe(|| self.look_on(frames, commands, is_over)));
        // nothing may get lost now, so these wait for room in the channel; one that is gone needs no command
        for command in self.unsent.drain(..).chain([Command::Stop]) {
            if commands.send(command).is_err() {
                break;
            }
        }
        result.unwrap_or_else(|_| {
            Err(anyhow!(
                "the window broke down; the render is stopped and saved"
            ))
        })
    }

    fn look_on(
        &mut self,
        frames: &Mailbox<Frame>,
        commands: &SyncSender<Command>,
        is_over: &dyn Fn() -> bool,
    ) -> Result<()> {
        let mut attention: Option<Instant> = None;
        let mut redraws = Redraws::new(Pace::new(FASTEST, SHARE), REFRESH, Instant::now());
        loop {
            let begin = Instant::now();
            // while the user is not active, a frame is requested only when it can be drawn
            let mut attentive = attention.is_some_and(|last| begin < last + ATTENTION);
            if (attentive || redraws.is_ready(begin))
                && let Some(frame) = frames.take()
            {
                self.panel.show(frame, begin);
                redraws.newer();
            }
            let changed = self.panel.next_change();
            let due = self.panel.tick(begin);
            if changed.is_some_and(|change| change <= begin) {
                redraws.touch();
            }
            let mut open = self.perform(due, begin);
            let typed = self.typed(begin, &mut open);
            let (clicked, moved) = self.pointed(begin, &mut open);
            if typed || clicked {
                redraws.touch();
            }
            if typed || clicked || moved {
                attention = Some(begin);
                attentive = true;
            }
            if !self.window.is_open() {
                let actions = self.panel.close(begin);
                self.perform(actions, begin);
                open = false;
            }
            self.deliver(commands);
            if !open || is_over() {
                return Ok(());
            }
            let size = self.window.get_size();
            let redraw = redraws.decide(size, begin);
            match redraw {
                Redraw::Paint { picture } => {
                    if picture {
                        self.painter.refresh();
                    }
                    let scale = self.scale * growth(size, self.scale) * self.zoom;
                    self.painter.paint(&mut self.panel, size, scale, begin);
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
        let canvas = self.painter.canvas();
        if canvas.width() == 0
            || canvas.height() == 0
            || (canvas.width(), canvas.height()) != (width, height)
        {
            // minimised to nothing
            self.window.update();
            return Ok(());
        }
        (self
            .window
            .update_with_buffer(canvas.pixels(), width, height))
        .map_err(|error| anyhow!("{error}"))
        .context("cannot draw into the window")
    }

    /// Does what was typed. Returns whether there was something.
    fn typed(&mut self, now: Instant, open: &mut bool) -> bool {
        self.keyboard.set_active(self.window.is_active());
        let mut some = false;
        while let Some(meaning) = self.keyboard.read() {
            some = true;
            match meaning {
                Meaning::Input(input) => *open &= self.input(&input, now),
                Meaning::Zoom(direction) => {
                    self.zoom = match direction {
                        Ordering::Greater => self.zoom * ZOOM,
                        Ordering::Less => self.zoom / ZOOM,
                        Ordering::Equal => 1.0,
                    }
                    .clamp(ZOOMS.0, ZOOMS.1);
                }
            }
        }
        some
    }

    /// Handles the mouse. Returns whether there was a click or a drag, and whether the pointer moved over the window.
    fn pointed(&mut self, now: Instant, open: &mut bool) -> (bool, bool) {
        let mut some = false;
        while let Some(click) = self.mouse.read(&self.window) {
            some = true;
            match click {
                Click::Press { at, when } => *open &= self.pressed(at, when, now),
                Click::Release(at) => {
                    // a drag may have ended since the last poll
                    if self.pointer.down && self.pointer.at != Some(at) {
                        *open &= self.dragged(at, now);
                    }
                    self.pointer.down = false;
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
        let (x, y) = pixel(at);
        let over_text = self.painter.is_text(x, y);
        if over_text != self.pointer.over_text {
            self.pointer.over_text = over_text;
            self.window.set_cursor_style(if over_text {
                CursorStyle::Ibeam
            } else {
                CursorStyle::Arrow
            });
        }
        if self.pointer.down {
            *open &= self.dragged(at, now);
            return (true, true);
        }
        let (width, height) = self.window.get_size();
        let inside = x >= 0 && y >= 0 && (x as usize) < width && (y as usize) < height;
        (some, inside)
    }

    /// Handles a press of the button. Returns whether the window stays open.
    fn pressed(&mut self, at: (f32, f32), when: Duration, now: Instant) -> bool {
        let double = self.pointer.pressed.is_some_and(|(before, place)| {
            let near = (at.0 - place.0).hypot(at.1 - place.1) < DOUBLE_REACH;
            near && when.saturating_sub(before) < DOUBLE
        });
        // a third click is a first one again
        self.pointer.pressed = (!double).then_some((when, at));
        self.pointer.down = true;
        self.pointer.at = Some(at);
        let (x, y) = pixel(at);
        let input = Input::Click {
            target: self.painter.target(&self.panel, x, y),
            shift: self.keyboard.shift(),
            double,
        };
        self.input(&input, now)
    }

    /// Handles a move of the pointer with the button held. Returns whether the window stays open.
    fn dragged(&mut self, at: (f32, f32), now: Instant) -> bool {
        let target = self.painter.dragged(&self.panel, pixel(at).0);
        let input = Input::Drag(target.unwrap_or(Target::Elsewhere));
        self.input(&input, now)
    }

    fn input(&mut self, input: &Input, now: Instant) -> bool {
        let actions = self.panel.input(input, now);
        self.perform(actions, now)
    }

    /// Does what is to be done. Returns whether the window stays open.
    fn perform(&mut self, actions: Vec<Action>, now: Instant) -> bool {
        let mut open = true;
        for action in actions {
            match action {
                Action::Send(command) => self.unsent.push_back(command),
                Action::Copy(text) => {
                    let copied = self.clipboard().and_then(|clipboard| {
                        clipboard
                            .set_text(text)
                            .context("cannot reach the clipboard")
                    });
                    if let Err(error) = copied {
                        self.panel.say(&format!("{error:#}"), Severity::Error, now);
                    }
                }
                Action::Paste => match self.clipboard().and_then(pasted) {
                    Ok(text) => open &= self.input(&Input::Pasted(text), now),
                    Err(error) => self.panel.say(&format!("{error:#}"), Severity::Error, now),
                },
                Action::Close => open = false,
            }
        }
        open
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

    /// Sends what waits to be sent, as far as there is room for it.
    fn deliver(&mut self, commands: &SyncSender<Command>) {
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

/// The pixel that a place is in.
fn pixel((x, y): (f32, f32)) -> (i32, i32) {
    (x.floor() as i32, y.floor() as i32)
}

/// A title with a zero byte is refused by some systems.
pub(super) fn plain(title: &str) -> String {
    title.replace('\0', " ")
}

fn pasted(clipboard: &mut arboard::Clipboard) -> Result<String> {
    match clipboard.get_text() {
        Ok(text) => Ok(text),
        Err(arboard::Error::ContentNotAvailable) => Err(anyhow!("The clipboard has no text")),
        Err(error) => Err(error).context("cannot read the clipboard"),
    }
}
