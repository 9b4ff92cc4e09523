//! The window of a growing pattern: a click wipes out a part of it, and it heals.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::grow::{Care, Garden, Grown};
use crate::live::Mailbox;

use super::canvas::{Canvas, Rect};
use super::keyboard::{Keyboard, Meaning};
use super::layout::growth;
use super::mouse::{Click, Mouse};
use super::paint::{GROUND, PANEL, SOFT, TEXT};
use super::panel::{Input, Key};
use super::scale::{fitted, scaled};
use super::text::{Fonts, Style, Weight};
use super::window::{Opened, open, plain};

/// Size at first, in logical pixels.
const SIZE: (f32, f32) = (720.0, 760.0);
/// The line below the pattern, in logical pixels.
const FOOTER: f32 = 34.0;
const MARGIN: f32 = 14.0;
const LETTERS: f32 = 13.0;
/// From one look at keys, mouse and pattern to the next.
const PACE: Duration = Duration::from_millis(16);
/// The radius of what a click wipes out, as a share of the pattern's shorter side.
const REACH: f64 = 1.0 / 8.0;
const KEYS: &str = "Click wounds   Space rests   R begins anew   S saves   Q closes";

/// An open window.
pub struct GardenWindow {
    window: minifb::Window,
    keyboard: Keyboard,
    mouse: Mouse,
    down: bool,
    fonts: Fonts,
    canvas: Canvas,
    scale: f32,
    /// Where the pattern was drawn last, and its size.
    place: Option<(Rect, (u32, u32))>,
    /// Where the pattern was wounded last, while the button is held.
    wounded: Option<(f64, f64)>,
}

impl std::fmt::Debug for GardenWindow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GardenWindow")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl GardenWindow {
    /// Opens the window, on the thread that will [`GardenWindow::run`] it: the main thread, where systems care.
    ///
    /// # Errors
    /// When there is no display, or it gives no window.
    pub fn open(title: &str) -> Result<Self> {
        let Opened { mut window, scale } = open(title, SIZE)?;
        let keyboard = Keyboard::default();
        window.set_input_callback(keyboard.listener());
        Ok(Self {
            mouse: Mouse::new(&window),
            down: false,
            window,
            keyboard,
            fonts: Fonts::embedded()?,
            canvas: Canvas::new(0, 0, GROUND),
            scale,
            place: None,
            wounded: None,
        })
    }

    /// Sets the window's title.
    pub fn set_title(&mut self, title: &str) {
        self.window.set_title(&plain(title));
    }

    /// Shows the pattern and passes on what is done to it, until the window is closed or nothing grows any more. The pattern is told to
    /// stop, whatever ends it.
    ///
    /// # Errors
    /// When the display breaks down.
    pub fn run(mut self, garden: &Garden) -> Result<()> {
        let (views, wishes) = (garden.views(), garden.wishes());
        // some of what the windowing library meets makes it panic
        let result = catch_unwind(AssertUnwindSafe(|| self.look_on(garden, &views, &wishes)));
        // one that is gone needs to be told nothing
        let _ = wishes.send(Care::Stop);
        result.unwrap_or_else(|_| Err(anyhow!("the window broke down")))
    }

    fn look_on(
        &mut self,
        garden: &Garden,
        views: &Arc<Mailbox<Grown>>,
        wishes: &SyncSender<Care>,
    ) -> Result<()> {
        let (mut newest, mut painted) = (None, None);
        while self.window.is_open() && !garden.is_done() {
            let begin = Instant::now();
            let size = self.window.get_size();
            let newer = views.take();
            let changed = newer.is_some() || painted != Some(size);
            newest = newer.or(newest);
            if let Some(grown) = newest.as_ref().filter(|_| changed) {
                self.paint(grown, size);
                painted = Some(size);
            }
            if (self.canvas.width(), self.canvas.height()) == size && size.0 * size.1 > 0 {
                (self
                    .window
                    .update_with_buffer(self.canvas.pixels(), size.0, size.1))
                .map_err(|error| anyhow!("{error}"))
                .context("cannot draw into the window")?;
            } else {
                self.window.update();
            }
            let mut asked = vec![];
            if !self.typed(&mut asked) {
                return Ok(());
            }
            asked.extend(self.pointed());
            for care in asked {
                // a wish too many is dropped: the thread that shows waits for nobody
                let _ = wishes.try_send(care);
            }
            std::thread::sleep(PACE.saturating_sub(begin.elapsed()));
        }
        Ok(())
    }

    /// What was typed. Returns whether the window stays.
    fn typed(&mut self, asked: &mut Vec<Care>) -> bool {
        self.keyboard.set_active(self.window.is_active());
        while let Some(meaning) = self.keyboard.read() {
            match meaning {
                Meaning::Input(Input::Char(' ')) => asked.push(Care::Pause),
                Meaning::Input(Input::Char('r' | 'R')) => asked.push(Care::Restart),
                Meaning::Input(Input::Char('s' | 'S')) => asked.push(Care::Snapshot),
                Meaning::Input(Input::Char('q' | 'Q') | Input::Key(Key::Escape, _)) => {
                    return false;
                }
                _ => {}
            }
        }
        true
    }

    /// What the mouse does to the pattern: a click wounds it, and so does each half radius that it is dragged on.
    fn pointed(&mut self) -> Vec<Care> {
        let mut wounds = vec![];
        while let Some(click) = self.mouse.read(&self.window) {
            match click {
                Click::Press { at, .. } => {
                    self.down = true;
                    self.wounded = None;
                    wounds.extend(self.wound(at));
                }
                Click::Release(_) => self.down = false,
            }
        }
        if let Some(at) = self.mouse.at(&self.window).filter(|_| self.down) {
            wounds.extend(self.wound(at));
        }
        wounds
    }

    /// The wound for a place of the window, if it is on the pattern and not near the last one.
    fn wound(&mut self, (x, y): (f32, f32)) -> Option<Care> {
        let (place, (width, height)) = self.place?;
        if !place.contains(x.floor() as i32, y.floor() as i32) {
            return None;
        }
        let across = |at: f32, start: i32, extent: i32, size: u32| {
            f64::from(at - start as f32) / f64::from(extent) * f64::from(size)
        };
        let x = across(x, place.x, place.width, width);
        let y = across(y, place.y, place.height, height);
        let radius = f64::from(width.min(height)) * REACH;
        let near = (self.wounded).is_some_and(|(wx, wy)| (x - wx).hypot(y - wy) < radius / 2.0);
        if near {
            return None;
        }
        self.wounded = Some((x, y));
        Some(Care::Damage { x, y, radius })
    }

    fn paint(&mut self, grown: &Grown, (width, height): (usize, usize)) {
        let scale = self.scale * growth((width, height), self.scale);
        let px = |logical: f32| (logical * scale).round() as i32;
        self.canvas.reset(width, height, GROUND);
        let all = self.canvas.bounds();
        let footer = px(FOOTER).min(all.height);
        let area = Rect::new(0, 0, all.width, all.height - footer).inset(px(MARGIN));
        let size = grown.image.dimensions();
        let place = fitted(size.0 as usize, size.1 as usize, area);
        let to = (place.width as usize, place.height as usize);
        let pixels = scaled(&grown.image, (size.0 as usize, size.1 as usize), to);
        self.canvas.put((place.x, place.y), to.0, &pixels);
        self.place = (!place.is_empty()).then_some((place, size));

        let line = Rect::new(0, all.height - footer, all.width, footer);
        self.canvas.fill(line, PANEL);
        let style = Style {
            size: LETTERS * scale,
            weight: Weight::Regular,
        };
        let baseline = (line.y + (footer + px(LETTERS * 0.7)) / 2) as f32;
        let state = match grown.paused {
            true => format!("{} iterations, resting", grown.steps),
            false => format!("{} iterations", grown.steps),
        };
        let left = px(MARGIN) as f32;
        let end = self.fonts.draw(
            &mut self.canvas,
            (left, baseline),
            &state,
            style,
            TEXT,
            line,
        );
        let words = grown.said.as_deref().unwrap_or(KEYS);
        let room = line.width as f32 - left - (end + 2.0 * left);
        let words = self.fonts.fitted(words, style, room);
        let start = line.width as f32 - left - self.fonts.width(&words, style);
        self.fonts.draw(
            &mut self.canvas,
            (start, baseline),
            &words,
            style,
            SOFT,
            line,
        );
    }
}
