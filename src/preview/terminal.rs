//! The picture in a terminal: as graphics where the terminal is known to draw them, else in half blocks.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use image::{DynamicImage, RgbImage};
use unicode_segmentation::UnicodeSegmentation;

use crate::live::{Frame, Mailbox};

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
/// kitty: forget the pictures that show.
const FORGET: &str = "\x1b_Ga=d,d=A,q=2\x1b\\";

/// How a terminal shows pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Graphics {
    /// kitty's protocol.
    Kitty,
    /// iTerm's protocol.
    Iterm,
    /// DEC's sixels.
    Sixel,
    /// Two pixels a character.
    Blocks,
}

impl Graphics {
    /// What a terminal of these variables of its environment shows pictures with.
    ///
    /// The variables are asked rather than the terminal: one that does not answer would be waited for without end.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name| variable(name).unwrap_or_default();
        let (term, program) = (get("TERM"), get("TERM_PROGRAM"));
        // what sits between takes graphics away
        if variable("TMUX").is_some() || term.starts_with("screen") || term.starts_with("tmux") {
            return Self::Blocks;
        }
        let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
        if is_set("KITTY_WINDOW_ID")
            || is_set("GHOSTTY_RESOURCES_DIR")
            || term.contains("kitty")
            || term.contains("ghostty")
            || program == "ghostty"
        {
            return Self::Kitty;
        }
        if ["iTerm.app", "WezTerm", "mintty", "rio"].contains(&program.as_str()) {
            return Self::Iterm;
        }
        let sixel = ["foot", "mlterm", "contour", "yaft", "sixel"];
        if sixel.iter().any(|name| term.contains(name)) || is_set("WT_SESSION") {
            return Self::Sixel;
        }
        Self::Blocks
    }

    fn config(self) -> viuer::Config {
        viuer::Config {
            use_kitty: self == Self::Kitty,
            use_iterm: self == Self::Iterm,
            use_sixel: self == Self::Sixel,
            ..viuer::Config::default()
        }
    }
}

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
        if let Some(frame) = frames.take() {
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

/// Draws frames as they come, not too often.
fn show(newest: &Mailbox<Frame>, graphics: Graphics, over: &AtomicBool) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut size = (0, 0);
    let mut next = Instant::now();
    while !over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        if begin >= next
            && let Some(frame) = newest.take()
        {
            let now_size = viuer::terminal_size();
            let resized = now_size != size;
            size = now_size;
            draw(&frame, graphics, size, resized).context("cannot draw in the terminal")?;
            next = begin + FASTEST.max(begin.elapsed().mul_f64(1.0 / (SHARE * cores as f64)));
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

fn draw(frame: &Frame, graphics: Graphics, size: (u16, u16), resized: bool) -> Result<()> {
    let (columns, rows) = (usize::from(size.0.max(1)), usize::from(size.1.max(1)));
    let prompts = frame.prompts.len().min(MOST_PROMPTS);
    let lines = words(frame, columns);
    let room = rows.saturating_sub((1 + prompts).max(LEAST_LINES) + 1);
    let (width, height) = cells(frame.width, frame.height, columns, room);
    let mut out = io::stdout();
    if resized {
        write!(out, "{HOME}\x1b[2J")?;
    }
    if graphics == Graphics::Kitty {
        write!(out, "{FORGET}")?;
    }
    if height > 0
        && let Some(picture) =
            RgbImage::from_raw(frame.width as u32, frame.height as u32, frame.rgb.clone())
    {
        let config = viuer::Config {
            x: ((columns - width) / 2) as u16,
            y: 0,
            width: Some(width as u32),
            height: Some(height as u32),
            ..graphics.config()
        };
        viuer::print(&DynamicImage::ImageRgb8(picture), &config)?;
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
fn words(frame: &Frame, columns: usize) -> Vec<String> {
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
        lines.push(format!("{similarity}  {:+.1}  {name}", status.weight));
    }
    if let Some((_, message)) = &frame.message {
        lines.push(message.clone());
    }
    (lines.iter()).map(|line| plain(line, columns)).collect()
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

    fn graphics(variables: &[(&str, &str)]) -> Graphics {
        Graphics::of(|name| {
            (variables.iter())
                .find(|(other, _)| *other == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn terminals_that_draw_are_known() {
        assert_eq!(graphics(&[("TERM", "xterm-kitty")]), Graphics::Kitty);
        assert_eq!(graphics(&[("TERM_PROGRAM", "ghostty")]), Graphics::Kitty);
        assert_eq!(graphics(&[("TERM_PROGRAM", "iTerm.app")]), Graphics::Iterm);
        assert_eq!(graphics(&[("TERM", "foot")]), Graphics::Sixel);
        assert_eq!(graphics(&[("WT_SESSION", "1")]), Graphics::Sixel);
    }

    #[test]
    fn others_get_blocks() {
        assert_eq!(graphics(&[]), Graphics::Blocks);
        assert_eq!(graphics(&[("TERM", "xterm-256color")]), Graphics::Blocks);
        assert_eq!(
            graphics(&[("TERM", "xterm-kitty"), ("TMUX", "1")]),
            Graphics::Blocks
        );
    }

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
        frame.message = Some((1, "saved \x1b[2J\u{9b}31m it".to_owned()));
        let lines = words(&frame, 20);
        assert_eq!(lines.len(), 5);
        assert!(lines.iter().all(|line| line.chars().count() <= 20));
        assert!(!lines.concat().chars().any(char::is_control));
        assert!(lines[1].starts_with("0.287  +1.0  an oil"), "{lines:?}");
    }
}
