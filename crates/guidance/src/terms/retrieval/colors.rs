//! Colour words, and how a drawing takes a colour.

/// Words for colours, each with its sRGB value.
const COLORS: &[(&str, [u8; 3])] = &[
    ("red", [214, 34, 38]),
    ("scarlet", [214, 34, 38]),
    ("crimson", [170, 16, 44]),
    ("maroon", [122, 18, 32]),
    ("orange", [244, 128, 24]),
    ("yellow", [250, 214, 36]),
    ("gold", [222, 170, 40]),
    ("golden", [222, 170, 40]),
    ("green", [46, 156, 62]),
    ("lime", [150, 214, 48]),
    ("olive", [122, 128, 46]),
    ("teal", [16, 134, 134]),
    ("turquoise", [48, 196, 188]),
    ("cyan", [48, 196, 214]),
    ("blue", [38, 94, 214]),
    ("navy", [24, 38, 110]),
    ("indigo", [66, 40, 146]),
    ("violet", [130, 60, 190]),
    ("purple", [132, 48, 170]),
    ("lilac", [190, 150, 220]),
    ("magenta", [214, 40, 150]),
    ("pink", [246, 130, 176]),
    ("brown", [124, 74, 40]),
    ("beige", [222, 204, 170]),
    ("black", [28, 28, 30]),
    ("white", [246, 246, 244]),
    ("gray", [134, 136, 140]),
    ("grey", [134, 136, 140]),
    ("silver", [184, 188, 194]),
];

/// A colour in Oklab (Ottosson 2020): lightness 0..=1, and two axes of hue and chroma.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Color {
    lightness: f32,
    a: f32,
    b: f32,
}

impl Color {
    /// The colour that a word names.
    pub fn named(word: &str) -> Option<Self> {
        let (_, rgb) = COLORS.iter().find(|(name, _)| *name == word)?;
        Some(Self::from_srgb(rgb.map(|value| f32::from(value) / 255.0)))
    }

    /// From sRGB in 0..=1.
    pub fn from_srgb(rgb: [f32; 3]) -> Self {
        let [r, g, b] = rgb.map(|value| {
            if value <= 0.040_45 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        });
        let l = (0.412_221_46 * r + 0.536_332_55 * g + 0.051_445_995 * b).cbrt();
        let m = (0.211_903_5 * r + 0.680_699_5 * g + 0.107_396_96 * b).cbrt();
        let s = (0.088_302_46 * r + 0.281_718_85 * g + 0.629_978_7 * b).cbrt();
        Self {
            lightness: 0.210_454_26 * l + 0.793_617_8 * m - 0.004_072_047 * s,
            a: 1.977_998_5 * l - 2.428_592_2 * m + 0.450_593_7 * s,
            b: 0.025_904_037 * l + 0.782_771_77 * m - 0.808_675_77 * s,
        }
    }

    /// From lightness 0..=1, chroma (about 0 to 0.3) and hue in radians.
    pub fn from_hue(lightness: f32, chroma: f32, hue: f32) -> Self {
        Self {
            lightness,
            a: chroma * hue.cos(),
            b: chroma * hue.sin(),
        }
    }

    /// To sRGB, clamped to 0..=1.
    pub fn to_srgb(self) -> [f32; 3] {
        let Self { lightness, a, b } = self;
        let l = (lightness + 0.396_337_78 * a + 0.215_803_76 * b).powi(3);
        let m = (lightness - 0.105_561_346 * a - 0.063_854_17 * b).powi(3);
        let s = (lightness - 0.089_484_18 * a - 1.291_485_5 * b).powi(3);
        let linear = [
            4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_94 * s,
            -1.268_438 * l + 2.609_757_4 * m - 0.341_319_4 * s,
            -0.004_196_086 * l - 0.703_418_6 * m + 1.707_614_7 * s,
        ];
        linear.map(|value| {
            let value = value.clamp(0.0, 1.0);
            if value <= 0.003_130_8 {
                value * 12.92
            } else {
                1.055 * value.powf(1.0 / 2.4) - 0.055
            }
        })
    }

    fn chroma(self) -> f32 {
        self.a.hypot(self.b)
    }

    /// Lightness, 0..=1.
    pub fn lightness(self) -> f32 {
        self.lightness
    }

    /// How far apart two colours are to the eye: 1 is black to white.
    pub fn distance(self, other: Self) -> f32 {
        let differences = [
            self.lightness - other.lightness,
            self.a - other.a,
            self.b - other.b,
        ];
        differences
            .iter()
            .map(|value| value * value)
            .sum::<f32>()
            .sqrt()
    }

    /// The hue in radians.
    fn hue(self) -> f32 {
        self.b.atan2(self.a)
    }

    /// This hue at another lightness, with `strength` of its chroma, which also fades towards black and white, where there is none.
    fn at(self, lightness: f32, strength: f32) -> Self {
        let room = (1.0 - (2.0 * lightness - 1.0).abs().powi(4)).clamp(0.0, 1.0);
        Self::from_hue(
            lightness.clamp(0.0, 1.0),
            strength * room * self.chroma(),
            self.hue(),
        )
    }

    /// The same, lighter or darker.
    pub fn lighter_by(self, step: f32) -> Self {
        Self {
            lightness: (self.lightness + step).clamp(0.0, 1.0),
            ..self
        }
    }
}

/// Below this lightness a pixel is an outline or a shadow, above the second one a highlight or a white part; both keep their lightness and little
/// chroma.
const OUTLINE: [f32; 2] = [0.22, 0.96];

/// Gives a drawing's pixels, sRGB in 0..=1 and opacity, the hue of a colour. What is darker or lighter in it stays so.
pub fn tint(pixels: &mut [[f32; 4]], color: Color) {
    let oklab = |pixel: &[f32; 4]| Color::from_srgb([pixel[0], pixel[1], pixel[2]]);
    // outlines aside, the mean lightness becomes the colour's
    let (mut sum, mut count) = (0.0, 0.0);
    for pixel in pixels.iter() {
        let own = oklab(pixel);
        if (OUTLINE[0]..OUTLINE[1]).contains(&own.lightness) {
            sum += own.lightness * pixel[3];
            count += pixel[3];
        }
    }
    let mean = if count > 0.0 { sum / count } else { 0.6 };
    for pixel in pixels {
        let own = oklab(pixel);
        let is_outline = count > 0.0 && !(OUTLINE[0]..OUTLINE[1]).contains(&own.lightness);
        let lightness = if is_outline {
            own.lightness
        } else {
            color.lightness + 0.7 * (own.lightness - mean)
        };
        let strength = if is_outline { 0.3 } else { 1.0 };
        pixel[..3].copy_from_slice(&color.at(lightness, strength).to_srgb());
    }
}

/// Gives all pixels of a scene, sRGB in 0..=1 and opacity, the hue of a colour. Each keeps its lightness, so that the scene can still be recognised.
pub fn tint_scene(pixels: &mut [[f32; 4]], color: Color) {
    for pixel in pixels {
        let lightness = Color::from_srgb([pixel[0], pixel[1], pixel[2]]).lightness;
        pixel[..3].copy_from_slice(&color.at(lightness, 1.0).to_srgb());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_survive_the_way_to_oklab_and_back() {
        for rgb in [
            [0.0, 0.0, 0.0],
            [1.0, 1.0, 1.0],
            [0.9, 0.2, 0.1],
            [0.1, 0.4, 0.8],
        ] {
            let back = Color::from_srgb(rgb).to_srgb();
            for (a, b) in rgb.iter().zip(back) {
                assert!((a - b).abs() < 2e-3, "{rgb:?} {back:?}");
            }
        }
        // Ottosson's own example of the standard: sRGB red
        let red = Color::from_srgb([1.0, 0.0, 0.0]);
        assert!((red.lightness - 0.628).abs() < 1e-3 && (red.a - 0.2249).abs() < 1e-3);
        assert!(Color::named("red").is_some() && Color::named("reddish").is_none());
    }

    #[test]
    fn a_tinted_drawing_has_the_hue_and_keeps_its_outline() {
        let mut pixels = [
            [0.9, 0.5, 0.1, 1.0],
            [0.95, 0.7, 0.3, 1.0],
            [0.02, 0.02, 0.02, 1.0],
        ];
        tint(&mut pixels, Color::named("blue").expect("a colour"));
        for [r, g, b, _] in &pixels[..2] {
            assert!(b > r && b > g, "{pixels:?}");
        }
        assert!(
            pixels[2][..3].iter().all(|value| *value < 0.15),
            "{pixels:?}"
        );
        assert!(pixels[1][2] > pixels[0][2], "{pixels:?}");
    }
}
