//! The protocols by which terminals show pictures.

use std::fmt::Write as _;
use std::io::{self, Cursor, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use image::{ImageFormat, Rgb, RgbImage};

use crate::draw::resize;

/// A cell in pixels on DEC's terminals, and on those that scale sixels to it.
const CELL: (usize, usize) = (10, 20);
/// A cell of a small letter, where a sixel is a pixel of the screen: a picture that is higher than its rows would push the screen up.
const SMALL_CELL: (usize, usize) = (6, 12);
/// Sixel pictures are at most this wide: some terminals keep no more.
const SIXEL_WIDTH: usize = 1000;
/// kitty takes its data in pieces of this size.
const PIECE: usize = 4096;
/// kitty: forget the pictures that show.
const FORGET: &str = "\x1b_Ga=d,d=A,q=2\x1b\\";
/// Levels of each channel in a palette of 216 colours.
const LEVELS: u32 = 6;
/// Bayer's threshold matrix.
const BAYER: [[u32; 4]; 4] = [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]];

/// How a terminal shows pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Graphics {
    /// kitty's protocol.
    Kitty,
    /// iTerm's protocol.
    Iterm,
    /// DEC's sixels, in 216 colours; a cell has this width and height in pixels.
    Sixel { cell: (usize, usize) },
    /// Two pixels a character, in 24-bit colours or in 216.
    Blocks { all_colors: bool },
}

/// Where a picture is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// From a column of the screen's first row on; earlier pictures are replaced.
    Screen { column: usize },
    /// From the cursor on, which stands there again afterwards.
    Cursor,
}

impl Place {
    /// Moves the cursor to a row of the picture.
    fn row(self, row: usize) -> String {
        match (self, row) {
            (Self::Screen { column }, row) => format!("\x1b[{};{}H", row + 1, column + 1),
            (Self::Cursor, 0) => "\x1b7".to_owned(),
            (Self::Cursor, row) => format!("\x1b8\x1b[{row}B"),
        }
    }

    /// Moves it to where it has to be after the picture.
    fn end(self) -> &'static str {
        match self {
            Self::Screen { .. } => "",
            Self::Cursor => "\x1b8",
        }
    }
}

impl Graphics {
    /// The protocol of a terminal with these environment variables.
    ///
    /// They are read rather than the terminal queried: a terminal that does not answer would block without end.
    pub(super) fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name| variable(name).unwrap_or_default();
        let (term, program) = (get("TERM"), get("TERM_PROGRAM"));
        let all_colors = ["truecolor", "24bit"].contains(&get("COLORTERM").as_str());
        let blocks = Self::Blocks { all_colors };
        // multiplexers drop graphics
        if variable("TMUX").is_some() || term.starts_with("screen") || term.starts_with("tmux") {
            return blocks;
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
        if is_set("WT_SESSION") {
            Self::Sixel { cell: CELL }
        } else if sixel.iter().any(|name| term.contains(name)) {
            Self::Sixel { cell: SMALL_CELL }
        } else {
            blocks
        }
    }

    /// Draws a picture over so many columns and rows.
    pub(super) fn draw(
        self,
        out: &mut impl Write,
        picture: &RgbImage,
        place: Place,
        cells: (usize, usize),
    ) -> io::Result<()> {
        self.draw_rows(out, picture, place, cells)?;
        write!(out, "{}", place.end())
    }

    fn draw_rows(
        self,
        out: &mut impl Write,
        picture: &RgbImage,
        place: Place,
        (columns, rows): (usize, usize),
    ) -> io::Result<()> {
        let (width, height) = picture.dimensions();
        let resized =
            |(width, height): (usize, usize)| resize(picture, (width as u32, height as u32));
        let start = place.row(0);
        match self {
            Self::Kitty => {
                if place != Place::Cursor {
                    write!(out, "{FORGET}")?;
                }
                write!(out, "{start}")?;
                let data = BASE64.encode(picture.as_raw());
                let mut pieces = data.as_bytes().chunks(PIECE).peekable();
                let size = format!("s={width},v={height},c={columns},r={rows}");
                let mut head = format!("a=T,f=24,{size},C=1,q=2,");
                while let Some(piece) = pieces.next() {
                    let more = u8::from(pieces.peek().is_some());
                    write!(out, "\x1b_G{head}m={more};")?;
                    out.write_all(piece)?;
                    write!(out, "\x1b\\")?;
                    head.clear();
                }
                Ok(())
            }
            Self::Iterm => {
                let mut png = Cursor::new(vec![]);
                (picture.write_to(&mut png, ImageFormat::Png)).map_err(io::Error::other)?;
                let data = BASE64.encode(png.get_ref());
                write!(
                    out,
                    "{start}\x1b]1337;File=inline=1;size={};width={columns};height={rows};preserveAspectRatio=0:{data}\x07",
                    png.get_ref().len()
                )
            }
            Self::Sixel { cell } => {
                let wide = (columns * cell.0).min(SIXEL_WIDTH);
                let high = (rows * cell.1 * wide) / (columns * cell.0).max(1);
                write!(out, "{start}{}", sixels(&resized((wide, high))))
            }
            Self::Blocks { all_colors } => {
                let resized = resized((columns, rows * 2));
                for row in 0..rows as u32 {
                    let mut line = place.row(row as usize);
                    for x in 0..columns as u32 {
                        paint(&mut line, 38, resized.get_pixel(x, 2 * row), all_colors);
                        paint(&mut line, 48, resized.get_pixel(x, 2 * row + 1), all_colors);
                        line.push('▀');
                    }
                    write!(out, "{line}\x1b[0m")?;
                }
                Ok(())
            }
        }
    }
}

/// A colour of the letter (38) or the ground (48).
fn paint(line: &mut String, what: u32, pixel: &Rgb<u8>, all_colors: bool) {
    let [r, g, b] = pixel.0;
    let _ = if all_colors {
        write!(line, "\x1b[{what};2;{r};{g};{b}m")
    } else {
        // 0, 95, 135, 175, 215, 255: where the terminals' cube has its levels
        let level = |value: u8| match value {
            0..48 => 0,
            48..115 => 1,
            value => (value - 35) / 40,
        };
        let index = 16 + 36 * level(r) + 6 * level(g) + level(b);
        write!(line, "\x1b[{what};5;{index}m")
    };
}

/// Pixels as sixels: in bands of six rows, colour by colour, of a palette of six levels a channel; thresholds spread what is between.
fn sixels(picture: &RgbImage) -> String {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let mut text = format!("\x1bPq\"1;1;{width};{height}");
    for color in 0..LEVELS.pow(3) {
        let share = |channel| color / LEVELS.pow(channel) % LEVELS * 100 / (LEVELS - 1);
        let _ = write!(text, "#{color};2;{};{};{}", share(2), share(1), share(0));
    }
    let index = |x: usize, y: usize| {
        let threshold = BAYER[y % 4][x % 4] * 2 + 1;
        let pixel = picture.get_pixel(x as u32, y as u32);
        pixel.0.into_iter().fold(0, |index, value| {
            // in 32nds of a level
            let level = (u32::from(value) * (LEVELS - 1) * 32 / 255 + threshold) / 32;
            index * LEVELS + level.min(LEVELS - 1)
        })
    };
    let mut bits = vec![0u8; width];
    for top in (0..height).step_by(6) {
        let rows = (height - top).min(6);
        let band: Vec<u32> = (0..rows * width)
            .map(|at| index(at % width, top + at / width))
            .collect();
        let mut colors = band.clone();
        colors.sort_unstable();
        colors.dedup();
        for color in colors {
            bits.fill(0);
            for (at, other) in band.iter().enumerate() {
                if *other == color {
                    bits[at % width] |= 1 << (at / width);
                }
            }
            let _ = write!(text, "#{color}");
            for run in bits.chunk_by(|a, b| a == b) {
                let sixel = char::from(b'?' + run[0]);
                if run.len() > 3 {
                    let _ = write!(text, "!{}{sixel}", run.len());
                } else {
                    text.extend(run.iter().map(|_| sixel));
                }
            }
            text.push('$');
        }
        text.push('-');
    }
    text.push_str("\x1b\\");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCKS: Graphics = Graphics::Blocks { all_colors: true };

    fn graphics(variables: &[(&str, &str)]) -> Graphics {
        Graphics::of(|name| {
            (variables.iter())
                .find(|(other, _)| *other == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    fn drawn(graphics: Graphics, picture: &RgbImage, cells: (usize, usize)) -> String {
        let mut out = vec![];
        graphics
            .draw(&mut out, picture, Place::Screen { column: 2 }, cells)
            .expect("a picture");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn terminals_that_draw_are_known() {
        assert_eq!(graphics(&[("TERM", "xterm-kitty")]), Graphics::Kitty);
        assert_eq!(graphics(&[("TERM_PROGRAM", "ghostty")]), Graphics::Kitty);
        assert_eq!(graphics(&[("TERM_PROGRAM", "iTerm.app")]), Graphics::Iterm);
        assert_eq!(
            graphics(&[("TERM", "foot")]),
            Graphics::Sixel { cell: SMALL_CELL }
        );
        assert_eq!(
            graphics(&[("WT_SESSION", "1")]),
            Graphics::Sixel { cell: CELL }
        );
    }

    #[test]
    fn others_get_blocks() {
        assert_eq!(graphics(&[]), Graphics::Blocks { all_colors: false });
        assert_eq!(
            graphics(&[("TERM", "xterm-256color"), ("COLORTERM", "truecolor")]),
            BLOCKS
        );
        let inside = [
            ("TERM", "xterm-kitty"),
            ("TMUX", "1"),
            ("COLORTERM", "24bit"),
        ];
        assert_eq!(graphics(&inside), BLOCKS);
    }

    #[test]
    fn blocks_have_two_pixels_a_cell() {
        let picture = RgbImage::from_raw(1, 2, vec![255, 0, 0, 0, 0, 255]).expect("a picture");
        let expected = "\x1b[1;3H\x1b[38;2;255;0;0m\x1b[48;2;0;0;255m▀\x1b[0m";
        assert_eq!(drawn(BLOCKS, &picture, (1, 1)), expected);
        let expected = "\x1b[1;3H\x1b[38;5;196m\x1b[48;5;21m▀\x1b[0m";
        assert_eq!(
            drawn(Graphics::Blocks { all_colors: false }, &picture, (1, 1)),
            expected
        );
    }

    #[test]
    fn a_picture_at_the_cursor_leaves_the_rest_of_the_screen() {
        let picture = RgbImage::new(1, 4);
        for graphics in [
            Graphics::Kitty,
            Graphics::Iterm,
            Graphics::Sixel { cell: CELL },
            BLOCKS,
        ] {
            let mut out = vec![];
            (graphics.draw(&mut out, &picture, Place::Cursor, (1, 2))).expect("a picture");
            let text = String::from_utf8(out).expect("text");
            assert!(text.starts_with("\x1b7") && text.ends_with("\x1b8"));
            assert!(
                !text.contains("H\x1b") && !text.contains(FORGET),
                "{text:?}"
            );
            assert_eq!(text.contains("\x1b8\x1b[1B"), graphics == BLOCKS);
        }
    }

    #[test]
    fn kitty_gets_its_data_in_pieces() {
        let picture = RgbImage::new(64, 40);
        let text = drawn(Graphics::Kitty, &picture, (20, 10));
        assert!(text.contains("s=64,v=40,c=20,r=10,"));
        let pieces: Vec<_> = text.split("\x1b_G").skip(2).collect();
        assert_eq!(pieces.len(), 3);
        assert!(pieces[1].starts_with("m=1;") && pieces[2].starts_with("m=0;"));
        let data: String = (pieces.iter())
            .filter_map(|piece| piece.split_once(';')?.1.strip_suffix("\x1b\\"))
            .collect();
        assert_eq!(BASE64.decode(data).expect("data"), vec![0; 64 * 40 * 3]);
    }

    #[test]
    fn iterm_gets_a_png() {
        let text = drawn(Graphics::Iterm, &RgbImage::new(8, 8), (4, 2));
        let data = text
            .rsplit(':')
            .next()
            .and_then(|data| data.strip_suffix('\x07'));
        let png = BASE64.decode(data.expect("data")).expect("data");
        assert_eq!(image::load_from_memory(&png).expect("a picture").width(), 8);
    }

    #[test]
    fn sixels_are_bands_of_six_rows() {
        let text = sixels(&RgbImage::from_pixel(8, 7, Rgb([255, 0, 0])));
        assert!(text.starts_with("\x1bPq\"1;1;8;7") && text.ends_with("\x1b\\"));
        // all six rows of red, eight times; then the one that is left
        assert!(text.ends_with("#180!8~$-#180!8@$-\x1b\\"), "{text:?}");
    }

    #[test]
    fn between_two_colours_sixels_are_spread() {
        // half way between two levels
        let text = sixels(&RgbImage::from_pixel(16, 6, Rgb([0x19; 3])));
        assert!(text.contains("#0") && text.contains("#43"), "{text:?}");
    }
}
