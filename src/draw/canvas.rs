//! A frame buffer, and what is drawn into it.

use image::RgbImage;

/// A colour, opaque: `0x00RRGGBB`, as frame buffers have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color(u32);

impl Color {
    /// The colour of these channels.
    pub const fn rgb(red: u8, green: u8, blue: u8) -> Self {
        Self((red as u32) << 16 | (green as u32) << 8 | blue as u32)
    }

    /// Its value in a frame buffer.
    pub const fn value(self) -> u32 {
        self.0
    }

    /// This colour, laid over another with a coverage of 0..=255.
    pub fn over(self, under: u32, coverage: u8) -> u32 {
        match coverage {
            0 => under,
            255 => self.0,
            _ => {
                let (over, cover) = (self.0, u32::from(coverage));
                let mix = |shift: u32| {
                    let (over, under) = (over >> shift & 0xff, under >> shift & 0xff);
                    ((over * cover + under * (255 - cover) + 127) / 255) << shift
                };
                mix(16) | mix(8) | mix(0)
            }
        }
    }
}

/// A rectangle in pixels. One of no width or no height is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: i32,
    /// Upper edge.
    pub y: i32,
    /// Width, at least 0.
    pub width: i32,
    /// Height, at least 0.
    pub height: i32,
}

impl Rect {
    /// A rectangle; a negative width or height is taken as 0.
    pub fn new(x: i32, y: i32, width: i32, height: i32) -> Self {
        Self {
            x,
            y,
            width: width.max(0),
            height: height.max(0),
        }
    }

    /// The first column to the right of it.
    pub fn right(&self) -> i32 {
        self.x + self.width
    }

    /// The first row below it.
    pub fn bottom(&self) -> i32 {
        self.y + self.height
    }

    /// Whether it has no pixels.
    pub fn is_empty(&self) -> bool {
        self.width == 0 || self.height == 0
    }

    /// Whether a pixel is in it.
    pub fn contains(&self, x: i32, y: i32) -> bool {
        (self.x..self.right()).contains(&x) && (self.y..self.bottom()).contains(&y)
    }

    /// Cuts a strip off its top, of so many pixels or of what there is; the rest stays.
    pub fn cut_top(&mut self, height: i32) -> Self {
        let height = height.clamp(0, self.height);
        let cut = Self { height, ..*self };
        self.y += height;
        self.height -= height;
        cut
    }

    /// Cuts a strip off its bottom.
    pub fn cut_bottom(&mut self, height: i32) -> Self {
        let top = self.cut_top(self.height - height.max(0));
        std::mem::replace(self, top)
    }

    /// Cuts a strip off its left side.
    pub fn cut_left(&mut self, width: i32) -> Self {
        let width = width.clamp(0, self.width);
        let cut = Self { width, ..*self };
        self.x += width;
        self.width -= width;
        cut
    }

    /// Cuts a strip off its right side.
    pub fn cut_right(&mut self, width: i32) -> Self {
        let left = self.cut_left(self.width - width.max(0));
        std::mem::replace(self, left)
    }

    /// What is left of it after so many pixels are taken from every side.
    pub fn inset(&self, by: i32) -> Self {
        let (width, height) = (self.width - 2 * by, self.height - 2 * by);
        Self::new(self.x + by, self.y + by, width, height)
    }

    /// What is in both; at the origin if that is nothing.
    pub fn intersection(&self, other: Self) -> Self {
        let (x, y) = (self.x.max(other.x), self.y.max(other.y));
        let right = self.right().min(other.right());
        let bottom = self.bottom().min(other.bottom());
        let both = Self::new(x, y, right - x, bottom - y);
        if both.is_empty() {
            Self::default()
        } else {
            both
        }
    }
}

/// A frame buffer: a `0x00RRGGBB` a pixel, row by row.
#[derive(Clone, Debug)]
pub struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u32>,
}

impl Canvas {
    /// A canvas of one colour.
    pub fn new(width: usize, height: usize, color: Color) -> Self {
        Self {
            width,
            height,
            pixels: vec![color.value(); width * height],
        }
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels, row by row.
    pub fn pixels(&self) -> &[u32] {
        &self.pixels
    }

    /// The whole canvas.
    pub fn bounds(&self) -> Rect {
        Rect::new(0, 0, self.width as i32, self.height as i32)
    }

    /// Clears it to one colour, in a possibly different size.
    pub fn reset(&mut self, width: usize, height: usize, color: Color) {
        self.width = width;
        self.height = height;
        self.pixels.clear();
        self.pixels.resize(width * height, color.value());
    }

    /// The part of a row of pixels that a rectangle covers.
    fn row(&mut self, rect: Rect, y: i32) -> &mut [u32] {
        let start = y as usize * self.width;
        &mut self.pixels[start + rect.x as usize..start + rect.right() as usize]
    }

    /// Fills a rectangle.
    pub fn fill(&mut self, rect: Rect, color: Color) {
        let rect = rect.intersection(self.bounds());
        for y in rect.y..rect.bottom() {
            self.row(rect, y).fill(color.value());
        }
    }

    /// Lays a colour over everything, with an opacity of 0..=255.
    pub fn overlay(&mut self, color: Color, opacity: u8) {
        for pixel in &mut self.pixels {
            *pixel = color.over(*pixel, opacity);
        }
    }

    /// Fills a rectangle with round corners.
    pub fn fill_round(&mut self, rect: Rect, radius: f32, color: Color) {
        self.shape(rect, color, |x, y| coverage(rect, radius, x, y));
    }

    /// Draws the border of a rectangle with round corners, `thickness` pixels inwards.
    pub fn border_round(&mut self, rect: Rect, radius: f32, thickness: f32, color: Color) {
        self.shape(rect, color, |x, y| {
            let distance = distance(rect, radius, x, y);
            (0.5 - distance).clamp(0.0, 1.0) * (0.5 + distance + thickness).clamp(0.0, 1.0)
        });
    }

    fn shape(&mut self, rect: Rect, color: Color, coverage: impl Fn(i32, i32) -> f32) {
        let seen = rect.intersection(self.bounds());
        for y in seen.y..seen.bottom() {
            for (pixel, x) in self.row(seen, y).iter_mut().zip(seen.x..) {
                let coverage = (coverage(x, y) * 255.0).round() as u8;
                *pixel = color.over(*pixel, coverage);
            }
        }
    }

    /// Draws a line of some thickness through points, with round ends.
    pub fn line(&mut self, points: &[(f32, f32)], thickness: f32, color: Color) {
        let half = thickness / 2.0;
        let reach = half + 1.0;
        for pair in points.windows(2) {
            let ((ax, ay), (bx, by)) = (pair[0], pair[1]);
            let [left, top] = [ax.min(bx), ay.min(by)].map(|at| (at - reach).floor() as i32);
            let [right, bottom] = [ax.max(bx), ay.max(by)].map(|at| (at + reach).ceil() as i32);
            let rect = Rect::new(left, top, right - left, bottom - top);
            let (dx, dy) = (bx - ax, by - ay);
            let length = (dx * dx + dy * dy).max(1e-6);
            self.shape(rect, color, |x, y| {
                let (px, py) = (x as f32 + 0.5 - ax, y as f32 + 0.5 - ay);
                let along = ((px * dx + py * dy) / length).clamp(0.0, 1.0);
                (half + 0.5 - (px - along * dx).hypot(py - along * dy)).clamp(0.0, 1.0)
            });
        }
    }

    /// Lays a colour over the pixels of a mask, whose upper left corner is at a place; coverage of 0..=255, row by row.
    pub fn blend(
        &mut self,
        (left, top): (i32, i32),
        width: usize,
        coverage: &[u8],
        color: Color,
        clip: Rect,
    ) {
        if width == 0 {
            return;
        }
        let mask = Rect::new(left, top, width as i32, (coverage.len() / width) as i32);
        let seen = mask.intersection(clip).intersection(self.bounds());
        for y in seen.y..seen.bottom() {
            let start = (y - top) as usize * width + (seen.x - left) as usize;
            for (pixel, coverage) in self.row(seen, y).iter_mut().zip(&coverage[start..]) {
                *pixel = color.over(*pixel, *coverage);
            }
        }
    }

    /// Copies a picture to a place.
    pub fn put(&mut self, (left, top): (i32, i32), picture: &RgbImage) {
        let (width, height) = picture.dimensions();
        let all = Rect::new(left, top, width as i32, height as i32);
        let seen = all.intersection(self.bounds());
        for y in seen.y..seen.bottom() {
            let start = (y - top) as usize * width as usize + (seen.x - left) as usize;
            let source = picture.as_raw()[3 * start..].chunks_exact(3);
            for (pixel, rgb) in self.row(seen, y).iter_mut().zip(source) {
                *pixel = Color::rgb(rgb[0], rgb[1], rgb[2]).value();
            }
        }
    }

    /// Its pixels as a picture.
    pub fn to_picture(&self) -> RgbImage {
        let (width, height) = (self.width as u32, self.height as u32);
        let channels = self.pixels.iter().flat_map(|pixel| {
            let [_, rgb @ ..] = pixel.to_be_bytes();
            rgb
        });
        RgbImage::from_raw(width, height, channels.collect()).unwrap_or_default()
    }
}

/// How far the middle of a pixel is outside of a rectangle with round corners; below 0 inside.
fn distance(rect: Rect, radius: f32, x: i32, y: i32) -> f32 {
    let (half_width, half_height) = (rect.width as f32 / 2.0, rect.height as f32 / 2.0);
    let radius = radius.min(half_width).min(half_height);
    let dx = (x as f32 + 0.5 - rect.x as f32 - half_width).abs() - (half_width - radius);
    let dy = (y as f32 + 0.5 - rect.y as f32 - half_height).abs() - (half_height - radius);
    dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0) - radius
}

fn coverage(rect: Rect, radius: f32, x: i32, y: i32) -> f32 {
    (0.5 - distance(rect, radius, x, y)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    const BLACK: Color = Color::rgb(0, 0, 0);
    const WHITE: Color = Color::rgb(255, 255, 255);

    fn lit(canvas: &Canvas) -> usize {
        canvas.pixels().iter().filter(|pixel| **pixel != 0).count()
    }

    #[test]
    fn colours_mix_by_their_coverage() {
        assert_eq!(WHITE.over(0, 0), 0);
        assert_eq!(WHITE.over(0, 255), 0xffffff);
        assert_eq!(Color::rgb(200, 100, 0).over(0x0064c8, 128), 0x646464);
    }

    #[test]
    fn what_is_outside_of_the_canvas_is_left_out() {
        let mut canvas = Canvas::new(4, 4, BLACK);
        canvas.fill(Rect::new(-2, -2, 3, 3), WHITE);
        assert_eq!(lit(&canvas), 1);
        canvas.fill_round(Rect::new(10, 10, 5, 5), 2.0, WHITE);
        canvas.border_round(Rect::new(-10, 0, 5, 5), 2.0, 1.0, WHITE);
        canvas.line(&[(-9.0, -9.0), (-3.0, -3.0)], 2.0, WHITE);
        canvas.blend((-2, 9), 2, &[255; 4], WHITE, canvas.bounds());
        canvas.put((7, -9), &RgbImage::from_pixel(2, 2, Rgb([255; 3])));
        assert_eq!(lit(&canvas), 1);
        canvas.put((3, 3), &RgbImage::from_pixel(2, 2, Rgb([9; 3])));
        assert_eq!(lit(&canvas), 2);
    }

    #[test]
    fn a_straight_rectangle_has_sharp_edges() {
        let mut canvas = Canvas::new(8, 8, BLACK);
        canvas.fill_round(Rect::new(2, 2, 4, 3), 0.0, WHITE);
        assert_eq!(lit(&canvas), 12);
        assert!(
            canvas
                .pixels()
                .iter()
                .all(|pixel| [0, 0xffffff].contains(pixel))
        );
    }

    #[test]
    fn round_corners_are_left_out() {
        let mut canvas = Canvas::new(16, 16, BLACK);
        canvas.fill_round(canvas.bounds(), 8.0, WHITE);
        let area = canvas
            .pixels()
            .iter()
            .map(|pixel| pixel & 0xff)
            .sum::<u32>() as f32
            / 255.0;
        assert!((area - std::f32::consts::PI * 64.0).abs() < 2.0, "{area}");
    }

    #[test]
    fn a_border_leaves_the_inside_as_it_is() {
        let mut canvas = Canvas::new(10, 10, BLACK);
        canvas.border_round(canvas.bounds(), 0.0, 1.0, WHITE);
        assert_eq!(lit(&canvas), 36);
    }

    #[test]
    fn rectangles_meet() {
        let a = Rect::new(0, 0, 4, 4);
        assert_eq!(a.intersection(Rect::new(2, 1, 9, 2)), Rect::new(2, 1, 2, 2));
        assert!(a.intersection(Rect::new(4, 0, 1, 1)).is_empty());
        assert!(a.inset(3).is_empty());
        assert!(a.contains(3, 0) && !a.contains(4, 0));
    }

    #[test]
    fn strips_are_cut_off() {
        let mut rest = Rect::new(1, 2, 10, 20);
        assert_eq!(rest.cut_top(3), Rect::new(1, 2, 10, 3));
        assert_eq!(rest.cut_bottom(4), Rect::new(1, 18, 10, 4));
        assert_eq!(rest.cut_left(5), Rect::new(1, 5, 5, 13));
        assert_eq!(rest.cut_right(2), Rect::new(9, 5, 2, 13));
        assert_eq!(rest, Rect::new(6, 5, 3, 13));
        // no more than there is
        assert_eq!(rest.cut_bottom(99), Rect::new(6, 5, 3, 13));
        assert!(rest.is_empty());
    }
}
