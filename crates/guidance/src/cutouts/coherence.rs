//! Weights of cutouts by their size: large ones decide the composition, and small ones may not work against it (pytti v2's coherence weighting).

use crate::cutout_layer::Cutout;
use crate::frame::Frame;

/// How much more a cutout weighs that shows a square as large as the frame allows.
const LARGEST: f64 = 3.0;

/// The weight of each cutout, 1 in the mean. `strength` leads from equal weights (0) to those of the rule (1).
pub(super) fn weights(cutouts: &[Cutout], frame: &Frame, strength: f64) -> Vec<f64> {
    let own: Vec<f64> = (cutouts.iter())
        .map(|cutout| {
            let share = cutout.crop.width.min(cutout.crop.height) / frame.short();
            if share >= 1.0 { LARGEST } else { share }
        })
        .collect();
    let mean = own.iter().sum::<f64>() / own.len() as f64;
    (own.iter())
        .map(|own| 1.0 + strength * (own / mean - 1.0))
        .collect()
}

#[cfg(test)]
mod tests {
    use frozen::Crop;

    use super::*;

    #[test]
    fn large_cutouts_weigh_more_and_the_mean_is_1() {
        let side = |side: f64| {
            Cutout::new(Crop {
                top: 0.0,
                left: 0.0,
                height: side,
                width: side,
                flip: false,
            })
        };
        let cutouts = [side(100.0), side(50.0), side(25.0), side(130.0)];
        let frame = Frame::whole(300, 100);
        assert_eq!(weights(&cutouts, &frame, 0.0), [1.0; 4]);
        let mean = (3.0 + 0.5 + 0.25 + 3.0) / 4.0;
        let expected = [3.0, 0.5, 0.25, 3.0].map(|weight| weight / mean);
        assert_eq!(weights(&cutouts, &frame, 1.0), expected);
        let half = weights(&cutouts, &frame, 0.5);
        assert!((half.iter().sum::<f64>() - 4.0).abs() < 1e-12);
        assert!((half[0] - (1.0 + expected[0]) / 2.0).abs() < 1e-12);
    }
}
