//! The judges of a comparison: CLIPs that look at six views of each picture.

use anyhow::{Context, Result};
use candle_core::Device;
use image::RgbImage;
use image::imageops::crop_imm;

use super::super::ensemble::Ensemble;
use super::super::query::{EncodedQueries, Query};
use crate::clip::{ClipActivation, fast_dot};

/// The side of the corner and centre squares in shares of the picture's shorter side. All of them hold the picture's middle, where its
/// subject mostly is, and each leaves out a part of its edge. (pytti takes the shorter side itself, with which all six views of a square picture
/// are the same.)
const SIDE: f64 = 0.75;

/// The judges, and the texts that they compare pictures with.
pub(crate) struct Panel {
    ensemble: Ensemble,
    texts: EncodedQueries,
}

impl Panel {
    /// Loads the CLIPs of these names, and encodes the texts. `activation` as in [`Ensemble::load`].
    ///
    /// # Errors
    /// When a model cannot be loaded, or can read nothing of a text.
    pub fn load(
        judges: &[String],
        activation: Option<ClipActivation>,
        texts: &[String],
        device: &Device,
    ) -> Result<Self> {
        let ensemble = Ensemble::load(judges, activation, device)?;
        let queries: Vec<Query> = texts.iter().map(|text| Query::text(text)).collect();
        let texts = EncodedQueries::new(&ensemble, &queries)?;
        Ok(Self { ensemble, texts })
    }

    /// Warnings: properties of the CLIPs that their files do not state, and words of texts that a CLIP does not read.
    pub fn warnings(&self) -> impl Iterator<Item = &String> {
        self.ensemble.warnings().chain(&self.texts.warnings)
    }

    /// For each judge the mean over the views of a picture of its cosine to a text.
    ///
    /// # Errors
    /// When the picture is empty, or a model fails.
    pub fn score(&self, picture: &RgbImage, text: usize) -> Result<Vec<f64>> {
        let views = views(picture.dimensions());
        let shown = (views.iter())
            .map(|[left, top, width, height]| {
                let view = crop_imm(picture, *left, *top, *width, *height).to_image();
                self.ensemble.squash(&view)
            })
            .collect::<Result<Vec<_>>>()?;
        let embeddings = self.ensemble.embed(&shown)?;
        let score = |(judge, texts): (usize, &Vec<Vec<f32>>)| {
            let text = texts.get(text).context("there is no such text")?;
            let cosines = embeddings.iter().map(|view| fast_dot(&view[judge], text));
            Ok(cosines.sum::<f64>() / views.len() as f64)
        };
        self.texts.vectors.iter().enumerate().map(score).collect()
    }
}

/// The views of a picture of that width and height, each its left and upper edge, its width and its height: the whole picture, the squares in
/// its corners, the square in its centre.
fn views((width, height): (u32, u32)) -> [[u32; 4]; 6] {
    let side = ((f64::from(width.min(height)) * SIDE).round() as u32).max(1);
    let (right, bottom) = (width.saturating_sub(side), height.saturating_sub(side));
    let square = |left, top| [left, top, side, side];
    [
        [0, 0, width, height],
        square(0, 0),
        square(right, 0),
        square(0, bottom),
        square(right, bottom),
        square(right / 2, bottom / 2),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_views_are_the_whole_four_corners_and_the_centre() {
        assert_eq!(
            views((256, 128)),
            [
                [0, 0, 256, 128],
                [0, 0, 96, 96],
                [160, 0, 96, 96],
                [0, 32, 96, 96],
                [160, 32, 96, 96],
                [80, 16, 96, 96],
            ]
        );
        for size in [(1, 1), (1, 9), (2, 3), (65, 64)] {
            for [left, top, width, height] in views(size) {
                assert!(width > 0 && height > 0, "{size:?}");
                assert!(left + width <= size.0 && top + height <= size.1, "{size:?}");
            }
        }
    }

    #[test]
    fn the_score_is_the_mean_cosine_of_the_views() {
        let device = Device::Cpu;
        let judges = [
            "embedded/resnet".to_owned(),
            "embedded/transformer".to_owned(),
        ];
        let texts = ["a red ball".to_owned(), "the sea".to_owned()];
        let panel = Panel::load(&judges, None, &texts, &device).expect("a panel");
        // every square of an even picture is the same, whatever the shape
        let grey = RgbImage::from_pixel(40, 20, image::Rgb([90, 120, 40]));
        let scores = panel.score(&grey, 1).expect("scores");
        let one = panel.ensemble.embed_picture(&grey).expect("vectors");
        for (judge, score) in scores.iter().enumerate() {
            let cosine = fast_dot(&one[judge], &panel.texts.vectors[judge][1]);
            assert!((score - cosine).abs() < 1e-5, "{score} {cosine}");
        }
        assert!(panel.score(&RgbImage::new(0, 3), 0).is_err());
        assert!(panel.score(&grey, 2).is_err());
    }
}
