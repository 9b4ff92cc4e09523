//! The picture in a terminal: as graphics where the terminal is known to draw them, else in half blocks.

mod graphics;

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use image::RgbImage;
use unicode_segmentation::UnicodeSegmentation;

use crate::live::{Frame, Mailbox, Message, RenderWorker};

use super::pace::Pace;
use super::panel::display_time;

use graphics::{Graphics, Place};

/// How often it checks for a new frame and for the end.
const POLL: Duration = Duration::from_millis(50);
/// A picture is drawn at most this often.
const FASTEST: Duration = Duration::from_millis(250);
/// Drawing takes at most this share of the machine's time.
const SHARE: f64 = 0.01;
/// At the end, this is how long to wait for the drawing to finish.
const END_TIMEOUT: Duration = Duration::from_secs(1);
/// At least this many lines are below the picture: steps and one prompt.
const LEAST_LINES: usize = 2;
/// At most this many prompts are listed.
const MOST_PROMPTS: usize = 6;

/// The alternate screen, which leaves the terminal's contents as they were, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_REST: &str = "\x1b[J";

/// Whether the alternate screen shows.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// Leaves the terminal as it was before [`run`]: for ends of the program that drop nothing.
pub fn restore() {
    if ENTERED.swap(false, Ordering::Relaxed) {
        let mut out = io::stdout().lock();
        let _ = write!(out, "{LEAVE}").and_then(|()| out.flush());
    }
}

/// The alternate screen; the terminal is restored when it is dropped.
struct AlternateScreen;

impl AlternateScreen {
    fn enter() -> io::Result<Self> {
        ENTERED.store(true, Ordering::Relaxed);
        let screen = Self;
        let mut out = io::stdout().lock();
        write!(out, "{ENTER}").and_then(|()| out.flush())?;
        Ok(screen)
    }
}

impl Drop for AlternateScreen {
    fn drop(&mut self) {
        restore();
    }
}

/// Shows a render's newest frames on standard output until it ends, and leaves the terminal as it was. The render never waits for it.
///
/// # Errors
/// When standard output is no terminal, or is closed.
pub fn run(worker: &RenderWorker) -> Result<()> {
    if !io::stdout().is_terminal() {
        bail!("standard output is no terminal, so that there is nowhere to show the picture");
    }
    let graphics = Graphics::of(|name| std::env::var(name).ok());
    let screen = AlternateScreen::enter().context("cannot write to the terminal")?;
    // a terminal may be slow, and one that is not what it claims to be may never answer: it is written to on a thread of its own
    let (frames, over) = (worker.frames(), Arc::new(AtomicBool::new(false)));
    let end = Arc::clone(&over);
    let thread = std::thread::Builder::new()
        .name("terminal".to_owned())
        .spawn(move || show(&frames, graphics, &end))
        .context("cannot start the thread that draws in the terminal")?;
    while !worker.is_done() && !thread.is_finished() {
        std::thread::sleep(POLL);
    }
    over.store(true, Ordering::Relaxed);
    let end = Instant::now();
    while !thread.is_finished() && end.elapsed() < END_TIMEOUT {
        std::thread::sleep(POLL);
    }
    let result = if thread.is_finished() {
        (thread.join()).unwrap_or_else(|_| bail!("drawing in the terminal broke down"))
    } else {
        Ok(())
    };
    drop(screen);
    result
}

/// Draws a picture where the cursor is, to stay in the terminal's contents after [`run`].
///
/// # Errors
/// When standard output is closed.
pub fn leave_picture(picture: &RgbImage) -> io::Result<()> {
    let (rows, columns) = console::Term::stdout().size();
    let room = usize::from(rows).saturating_sub(LEAST_LINES + 1);
    let (width, height) = picture.dimensions();
    let (width, height) = cells(width as usize, height as usize, columns.into(), room);
    if height == 0 {
        return Ok(());
    }
    let graphics = Graphics::of(|name| std::env::var(name).ok());
    let mut out = io::BufWriter::new(io::stdout().lock());
    // the rows are made first, so that nothing scrolls while it is drawn
    write!(out, "{}\x1b[{height}A\r", "\n".repeat(height))?;
    graphics.draw(&mut out, picture, Place::Cursor, (width, height))?;
    write!(out, "\x1b[{height}B\r")?;
    out.flush()
}

/// The newest frame, and until when its message is shown.
#[derive(Debug, Default)]
struct State {
    frame: Option<Frame>,
    /// The number of the last message that was shown.
    last_message: u64,
    until: Option<Instant>,
}

impl State {
    /// Takes a newer frame.
    fn show(&mut self, frame: Frame, now: Instant) {
        if let Some(message) = &frame.message
            && message.number > self.last_message
        {
            self.last_message = message.number;
            self.until = Some(now + display_time(message.severity));
        }
        self.frame = Some(frame);
    }

    /// Whether a message has just expired, so that the lines below the picture must be written again.
    fn message_expires(&mut self, now: Instant) -> bool {
        self.until.take_if(|until| *until <= now).is_some()
    }

    /// The message, until it expires.
    fn message(&self) -> Option<&Message> {
        (self.until).and(self.frame.as_ref()?.message.as_ref())
    }
}

/// Draws frames as they come, but not too often; also when a message expires or the terminal is resized.
fn show(frames: &Mailbox<Frame>, graphics: Graphics, over: &AtomicBool) -> Result<()> {
    let pace = Pace::new(FASTEST, SHARE);
    let (mut state, mut drawn) = (State::default(), (0, 0));
    let mut next = Instant::now();
    while !over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        if begin >= next {
            let mut changed = state.message_expires(begin);
            if let Some(frame) = frames.take() {
                state.show(frame, begin);
                changed = true;
            }
            let size = console::Term::stdout().size();
            let resized = size != drawn;
            if let Some(frame) = (state.frame.as_ref()).filter(|_| changed || resized) {
                drawn = size;
                draw(frame, state.message(), graphics, size, resized)
                    .context("cannot draw in the terminal")?;
                next = begin + pace.interval(begin.elapsed());
            }
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// `size` is of the terminal, in rows and columns.
fn draw(
    frame: &Frame,
    message: Option<&Message>,
    graphics: Graphics,
    size: (u16, u16),
    resized: bool,
) -> Result<()> {
    let (rows, columns) = (usize::from(size.0.max(1)), usize::from(size.1.max(1)));
    let lines = status_lines(frame, message, columns);
    let room = rows.saturating_sub(lines.len().max(LEAST_LINES) + 1);
    let (width, height) = frame.image.dimensions();
    let (width, height) = cells(width as usize, height as usize, columns, room);
    let mut out = io::BufWriter::new(io::stdout());
    if resized {
        write!(out, "{HOME}\x1b[2J")?;
    }
    if height > 0 {
        let column = (columns - width) / 2;
        let place = Place::Screen { column };
        graphics.draw(&mut out, &frame.image, place, (width, height))?;
    }
    write!(out, "\x1b[{};1H", height + 1)?;
    for line in lines.iter().take(rows.saturating_sub(height + 1)) {
        write!(out, "{line}{CLEAR_LINE}\r\n")?;
    }
    write!(out, "{CLEAR_REST}")?;
    Ok(out.flush()?)
}

/// The largest picture of this aspect in so many columns and rows; a cell is twice as high as it is wide.
fn cells(width: usize, height: usize, columns: usize, rows: usize) -> (usize, usize) {
    if width == 0 || height == 0 || rows == 0 {
        return (0, 0);
    }
    let scale = (columns as f64 / width as f64).min(2.0 * rows as f64 / height as f64);
    let side = |side: usize, cell: f64, most: usize| {
        ((side as f64 * scale / cell).round() as usize).clamp(1, most)
    };
    (side(width, 1.0, columns), side(height, 2.0, rows))
}

/// The lines below the picture, each cut to the terminal's width.
fn status_lines(frame: &Frame, message: Option<&Message>, columns: usize) -> Vec<String> {
    let mut line = format!("step {} of {}", frame.step, frame.steps);
    if frame.loss.is_finite() {
        line.push_str(&format!("  loss {:.4}", frame.loss));
    }
    if frame.steps_per_second > 0.0 {
        line.push_str(&format!("  {:.1} steps/s", frame.steps_per_second));
    }
    if frame.eta.is_finite() && frame.eta > 0.0 && !frame.finished {
        line.push_str(&format!("  {:.0} s left", frame.eta));
    }
    if frame.paused {
        line.push_str("  paused");
    }
    line.push_str(&format!("  {}", frame.device));
    let mut lines = vec![line];
    for status in frame.prompts.iter().take(MOST_PROMPTS) {
        let name = status.prompt.label();
        let similarity = if status.similarity.is_finite() {
            format!("{:.3}", status.similarity)
        } else {
            "  -  ".to_owned()
        };
        let line = format!("{similarity}  {:+.1}  ", status.weight);
        let room = columns.saturating_sub(line.len());
        lines.push(line + &shortened(&printable(&name, usize::MAX), room));
    }
    lines.extend(message.map(Message::to_string));
    lines.iter().map(|line| printable(line, columns)).collect()
}

/// A text of at most `most` visible characters. A longer one loses its middle, because prompts often begin alike, or its end if there is
/// hardly room for both.
pub fn shortened(text: &str, most: usize) -> String {
    const LEAST: usize = 16;
    let all: Vec<&str> = text.graphemes(true).collect();
    if all.len() <= most {
        return text.to_owned();
    }
    if most < LEAST {
        return all[..most].concat();
    }
    let head = most / 2;
    let tail = most - 1 - head;
    let parts = [&all[..head], &["…"], &all[all.len() - tail..]];
    parts.concat().concat()
}

/// The line without control characters, which would steer the terminal, and cut to a width.
fn printable(line: &str, columns: usize) -> String {
    let clean: String = line.chars().filter(|c| !c.is_control()).collect();
    clean.graphemes(true).take(columns).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests as sample;
    use super::*;
    use crate::live::Severity;

    #[test]
    fn pictures_keep_their_aspect_in_cells() {
        assert_eq!(cells(256, 256, 80, 20), (40, 20));
        assert_eq!(cells(512, 256, 80, 40), (80, 20));
        assert_eq!(cells(1, 10_000, 80, 20), (1, 20));
        assert_eq!(cells(0, 1, 80, 20), (0, 0));
        assert_eq!(cells(256, 256, 80, 0), (0, 0));
    }

    #[test]
    fn lines_fit_and_steer_nothing() {
        let mut frame = sample::frame(57);
        frame.message = Some(Message {
            number: 1,
            severity: Severity::Info,
            text: "saved \x1b[2J\u{9b}31m it".to_owned(),
        });
        let lines = status_lines(&frame, frame.message.as_ref(), 20);
        assert_eq!(lines.len(), 5);
        assert!(lines.iter().all(|line| line.chars().count() <= 20));
        assert!(!lines.concat().chars().any(char::is_control));
        assert!(lines[1].starts_with("0.287  +1.0  an oil"), "{lines:?}");
    }

    #[test]
    fn messages_show_for_a_while_and_the_steps_follow_the_frames() {
        let (mut state, now) = (State::default(), Instant::now());
        let message = |number| Message {
            number,
            severity: Severity::Info,
            text: "saved it".to_owned(),
        };
        let mut frame = sample::frame(200);
        frame.message = Some(message(1));
        state.show(frame.clone(), now);
        assert_eq!(state.message(), Some(&message(1)));
        assert!(!state.message_expires(now));
        let later = now + display_time(Severity::Info);
        // it disappears without another frame, and does not come back with a frame that carries it again
        assert!(state.message_expires(later) && !state.message_expires(later));
        assert_eq!(state.message(), None);
        state.show(frame.clone(), later);
        assert_eq!(state.message(), None);
        // a run that is extended
        (frame.step, frame.steps, frame.finished) = (201, 280, false);
        frame.message = Some(message(2));
        state.show(frame, later);
        assert_eq!(state.message(), Some(&message(2)));
        let lines = status_lines(state.frame.as_ref().expect("a frame"), None, 80);
        assert!(lines[0].starts_with("step 201 of 280"), "{lines:?}");
    }

    #[test]
    fn long_prompts_keep_both_ends() {
        assert_eq!(shortened("a cat", 20), "a cat");
        let text = "an oil painting of a sunset over wheat fields";
        assert_eq!(shortened(text, 21), "an oil pai…eat fields");
        assert_eq!(shortened(text, 6), "an oil");
        assert_eq!(shortened(text, 0), "");
        let family = "👩‍👩‍👧".repeat(40);
        assert_eq!(shortened(&family, 17).graphemes(true).count(), 17);
    }
}
