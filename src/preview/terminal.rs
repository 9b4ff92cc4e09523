//! The picture in a terminal: as graphics where the terminal is known to draw them, else in half blocks.

mod graphics;

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use image::RgbImage;
use unicode_segmentation::UnicodeSegmentation;

use crate::live::{Frame, Mailbox, Message};

use super::pace::Pace;
use super::panel::stays;

pub use graphics::Graphics;

/// It looks for a frame so often.
const LOOK: Duration = Duration::from_millis(50);
/// A picture is drawn at most so often.
const FASTEST: Duration = Duration::from_millis(250);
/// Drawing takes at most this share of a machine's time.
const SHARE: f64 = 0.01;
/// At the end, what is being drawn is waited for this long.
const PATIENCE: Duration = Duration::from_secs(1);
/// Lines below the picture at least: steps and one prompt.
const LEAST_LINES: usize = 2;
/// Prompts that are told.
const MOST_PROMPTS: usize = 6;

/// The other screen, which leaves what was in the terminal as it was; and no cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_REST: &str = "\x1b[J";

/// Whether the terminal is taken.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Gives the terminal back as it was, if it was taken: for those who end the program at once.
pub fn restore() {
    if TAKEN.swap(false, Ordering::Relaxed) {
        let mut out = io::stdout().lock();
        let _ = write!(out, "{LEAVE}").and_then(|()| out.flush());
    }
}

/// The terminal while it is taken; dropped, it is given back, whatever happened.
struct Taken;

impl Taken {
    fn new() -> io::Result<Self> {
        TAKEN.store(true, Ordering::Relaxed);
        let taken = Self;
        let mut out = io::stdout().lock();
        write!(out, "{ENTER}")?;
        out.flush()?;
        drop(out);
        Ok(taken)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        restore();
    }
}

/// Shows frames on standard output until `is_over`, and gives the terminal back as it was. The newest frame is shown; nothing waits for
/// it to be.
///
/// # Errors
/// When standard output is no terminal, or is closed.
pub fn run(frames: &Mailbox<Frame>, is_over: &dyn Fn() -> bool) -> Result<()> {
    if !io::stdout().is_terminal() {
        bail!("standard output is no terminal, so that there is nowhere to show the picture");
    }
    let graphics = Graphics::of(|name| std::env::var(name).ok());
    let taken = Taken::new().context("cannot write to the terminal")?;
    // a terminal may take its time, and one that is not what it says may never answer: it is written to on a thread of its own
    let (newest, over) = (
        Arc::new(Mailbox::default()),
        Arc::new(AtomicBool::new(false)),
    );
    let (from, end) = (Arc::clone(&newest), Arc::clone(&over));
    let thread = std::thread::Builder::new()
        .name("terminal".to_owned())
        .spawn(move || show(&from, graphics, &end))
        .context("cannot start the thread that draws in the terminal")?;
    while !is_over() && !thread.is_finished() {
        if newest.is_wanted()
            && let Some(frame) = frames.take()
        {
            newest.put(frame);
        }
        std::thread::sleep(LOOK);
    }
    over.store(true, Ordering::Relaxed);
    let asked = Instant::now();
    while !thread.is_finished() && asked.elapsed() < PATIENCE {
        std::thread::sleep(LOOK);
    }
    let result = match thread.is_finished() {
        true => thread
            .join()
            .unwrap_or_else(|_| bail!("drawing in the terminal broke down")),
        false => Ok(()),
    };
    drop(taken);
    result
}

/// The newest frame, and until when its message is shown.
#[derive(Debug, Default)]
struct Newest {
    frame: Option<Frame>,
    said: u64,
    until: Option<Instant>,
}

impl Newest {
    /// Takes a newer frame.
    fn take(&mut self, frame: Frame, now: Instant) {
        if let Some(message) = &frame.message
            && message.number > self.said
        {
            self.said = message.number;
            self.until = Some(now + stays(message.severity));
        }
        self.frame = Some(frame);
    }

    /// Whether a message has just expired, so that the lines below the picture must be written again.
    fn has_aged(&mut self, now: Instant) -> bool {
        let old = self.until.is_some_and(|until| until <= now);
        if old {
            self.until = None;
        }
        old
    }

    /// The message, until it expires.
    fn message(&self) -> Option<&Message> {
        (self.until).and(self.frame.as_ref()?.message.as_ref())
    }
}

/// Draws frames as they come, not too often; also when a message expires or the terminal is resized.
fn show(newest: &Mailbox<Frame>, graphics: Graphics, over: &AtomicBool) -> Result<()> {
    let drawing = Pace::new(FASTEST, SHARE);
    let (mut shown, mut size) = (Newest::default(), (0, 0));
    let mut next = Instant::now();
    while !over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        if begin >= next {
            let newer = newest.take();
            let mut changed = newer.is_some();
            if let Some(frame) = newer {
                shown.take(frame, begin);
            }
            changed |= shown.has_aged(begin);
            let now_size = console::Term::stdout().size();
            let resized = now_size != size;
            if let Some(frame) = (shown.frame.as_ref()).filter(|_| changed || resized) {
                size = now_size;
                draw(frame, shown.message(), graphics, size, resized)
                    .context("cannot draw in the terminal")?;
                next = begin + drawing.interval(begin.elapsed());
            }
        }
        std::thread::sleep(LOOK);
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
    let lines = words(frame, message, columns);
    let room = rows.saturating_sub(lines.len().max(LEAST_LINES) + 1);
    let (width, height) = cells(frame.width, frame.height, columns, room);
    let mut out = io::BufWriter::new(io::stdout());
    if resized {
        write!(out, "{HOME}\x1b[2J")?;
    }
    if height > 0
        && let Some(picture) =
            RgbImage::from_raw(frame.width as u32, frame.height as u32, frame.rgb.clone())
    {
        graphics.draw(&mut out, &picture, (columns - width) / 2, (width, height))?;
    }
    write!(out, "\x1b[{};1H", height + 1)?;
    for line in lines.iter().take(rows.saturating_sub(height + 1)) {
        write!(out, "{line}{CLEAR_LINE}\r\n")?;
    }
    write!(out, "{CLEAR_REST}")?;
    out.flush()?;
    Ok(())
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

/// What is said below the picture, each line short enough.
fn words(frame: &Frame, message: Option<&Message>, columns: usize) -> Vec<String> {
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
        let name = match (&status.prompt.text, &status.prompt.image) {
            (Some(text), _) => text.clone(),
            (None, Some(path)) => path.display().to_string(),
            (None, None) => String::new(),
        };
        let similarity = match status.similarity {
            similarity if similarity.is_finite() => format!("{similarity:.3}"),
            _ => "  -  ".to_owned(),
        };
        let line = format!("{similarity}  {:+.1}  ", status.weight);
        let room = columns.saturating_sub(line.len());
        lines.push(line + &shortened(&plain(&name, usize::MAX), room));
    }
    lines.extend(message.map(Message::to_string));
    (lines.iter()).map(|line| plain(line, columns)).collect()
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
    format!(
        "{}…{}",
        all[..head].concat(),
        all[all.len() - tail..].concat()
    )
}

/// Without control characters, which would steer the terminal, and cut to a width.
fn plain(line: &str, columns: usize) -> String {
    let clean: String = line.chars().filter(|c| !c.is_control()).collect();
    clean.graphemes(true).take(columns).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
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
        let lines = words(&frame, frame.message.as_ref(), 20);
        assert_eq!(lines.len(), 5);
        assert!(lines.iter().all(|line| line.chars().count() <= 20));
        assert!(!lines.concat().chars().any(char::is_control));
        assert!(lines[1].starts_with("0.287  +1.0  an oil"), "{lines:?}");
    }

    #[test]
    fn messages_show_for_a_while_and_the_steps_follow_the_frames() {
        let (mut shown, now) = (Newest::default(), Instant::now());
        let message = |number| Message {
            number,
            severity: Severity::Info,
            text: "saved it".to_owned(),
        };
        let mut frame = sample::frame(200);
        frame.message = Some(message(1));
        shown.take(frame.clone(), now);
        assert_eq!(shown.message(), Some(&message(1)));
        assert!(!shown.has_aged(now));
        let later = now + stays(Severity::Info);
        // it disappears without another frame, and does not come back with a frame that carries it again
        assert!(shown.has_aged(later) && !shown.has_aged(later));
        assert_eq!(shown.message(), None);
        shown.take(frame.clone(), later);
        assert_eq!(shown.message(), None);
        // a run that is extended
        (frame.step, frame.steps, frame.finished) = (201, 280, false);
        frame.message = Some(message(2));
        shown.take(frame, later);
        assert_eq!(shown.message(), Some(&message(2)));
        let lines = words(shown.frame.as_ref().expect("a frame"), None, 80);
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
