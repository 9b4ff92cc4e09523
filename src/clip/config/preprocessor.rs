//! How transformers shows pictures to a CLIP: `preprocessor_config.json`, or `image_processor` in `processor_config.json`.

use serde_json::Value;

use super::section::{Section, channels};
use super::{ClipConfig, ConfigError, MEAN, STD};
use crate::clip::preprocess::{Filter, Fit};

/// What a class of transformers does where its file leaves a key out.
struct Defaults {
    mean: [f64; 3],
    std: [f64; 3],
    filter: u32,
    /// Whether the middle is cut out.
    crop: bool,
    /// Whether a size that is one number is that of both sides, and not of the shorter one.
    square: bool,
}

const CLIP: Defaults = Defaults {
    mean: MEAN,
    std: STD,
    filter: 3,
    crop: true,
    square: false,
};

fn defaults(class: &str) -> Option<Defaults> {
    let halves = Defaults {
        mean: [0.5; 3],
        std: [0.5; 3],
        crop: false,
        ..CLIP
    };
    let class = class.strip_suffix("Fast").unwrap_or(class);
    match class.strip_suffix("Pil").unwrap_or(class) {
        "CLIPImageProcessor" | "CLIPFeatureExtractor" => Some(CLIP),
        "SiglipImageProcessor" => Some(halves),
        "ViTImageProcessor" | "ViTFeatureExtractor" => Some(Defaults {
            filter: 2,
            square: true,
            ..halves
        }),
        _ => None,
    }
}

/// What a picture is brought to before the middle is cut out.
enum Size {
    /// The shorter side, the other in proportion.
    Shorter(usize),
    /// Both sides.
    Square(usize),
}

impl ClipConfig {
    /// This configuration with what `preprocessor_config.json` or transformers 5's `processor_config.json` says of how pictures are shown.
    ///
    /// # Errors
    /// Where a key has a value that is not built, or pictures would come out in another size than the model's.
    pub fn with_preprocessor(mut self, json: &str) -> Result<Self, ConfigError> {
        let mut file = Section::root(json)?;
        let mut section = match file.section("image_processor")? {
            Some(section) => section,
            None => file,
        };
        let class = section.take::<String>("image_processor_type")?;
        let older = section.take::<String>("feature_extractor_type")?;
        let defaults = match class.or(older) {
            None => CLIP,
            Some(class) => defaults(&class).ok_or_else(|| {
                format!(
                    "is of a `{class}`; CLIPImageProcessor, SiglipImageProcessor and ViTImageProcessor are known"
                )
            })?,
        };
        self.filter = match section.take_or("resample", defaults.filter)? {
            3 => Filter::Bicubic,
            2 => Filter::Bilinear,
            1 => Filter::Lanczos,
            other => {
                return Err(format!(
                    "has the resampling {other} ({}); 1 (Lanczos), 2 (bilinear) and 3 (bicubic) are known",
                    section.name("resample")
                ));
            }
        };
        self.resize(&mut section, &defaults)?;
        self.normalize(&mut section, &defaults)?;
        // whether a picture has colours is no question here: all are read as RGB
        section.ignore(&["do_convert_rgb"]);
        let step = (section.rest())
            .find(|(key, value)| key.starts_with("do_") && **value != Value::Bool(false));
        if let Some((step, value)) = step {
            return Err(format!(
                "has {} = {value}, a step that is not built",
                section.name(step)
            ));
        }
        self.checked()
    }

    /// To what size a picture is brought, and which part of it is shown.
    fn resize(&mut self, section: &mut Section, defaults: &Defaults) -> Result<(), ConfigError> {
        let side = self.vision.image_size;
        let name = section.name("do_resize");
        if !section.take_or("do_resize", true)? {
            return Err(format!(
                "has {name} = false: pictures of any size are shown here, and the model is shown {side} x {side}"
            ));
        }
        let square = section.take_or("default_to_square", defaults.square)?;
        let named = section.name("size");
        let size = match section.take::<Value>("size")? {
            Some(value) => size(&value, square).ok_or_else(|| {
                format!(
                    "has {named} = {value}; a number, `shortest_edge`, or equal `height` and `width` are known"
                )
            })?,
            None if defaults.crop => Size::Shorter(side),
            None => Size::Square(side),
        };
        let crop = section.name("crop_size");
        let cropped = match section.take_or("do_center_crop", defaults.crop)? {
            false => None,
            true => Some(match section.take::<Value>("crop_size")? {
                None => side,
                Some(value) => match self::size(&value, true) {
                    Some(Size::Square(side)) => side,
                    _ => return Err(format!("has {crop} = {value}, which is not a square")),
                },
            }),
        };
        let (before, fit) = match size {
            Size::Shorter(before) => (before, Fit::Cover),
            Size::Square(before) => (before, Fit::Squash),
        };
        let other = |name: &str, found: usize| {
            Err(format!(
                "has {name} = {found}, and the model is shown {side} x {side} pixels"
            ))
        };
        match cropped {
            Some(cropped) if cropped != side => return other(&crop, cropped),
            Some(_) if before < side => {
                return Err(format!(
                    "has {named} = {before}, below the {side} pixels that are cut out ({crop}); the black edge of that is not built"
                ));
            }
            None if before != side => return other(&named, before),
            None if fit == Fit::Cover => {
                return Err(format!(
                    "has {} = false, and {named} is that of the shorter side: pictures that are not square would not fit the model",
                    section.name("do_center_crop")
                ));
            }
            _ => {}
        }
        self.fit = fit;
        self.resized = before;
        Ok(())
    }

    /// What the numbers of pixels become.
    fn normalize(&mut self, section: &mut Section, defaults: &Defaults) -> Result<(), ConfigError> {
        let factor = section.take_or("rescale_factor", 1.0 / 255.0)?;
        // pixels are 0..=1 here, and 0..=255 there
        let factor = match section.take_or("do_rescale", true)? {
            true => 255.0 * factor,
            false => 255.0,
        };
        // 1/255 is written in as many ways as there are roundings
        let factor = if (factor - 1.0f64).abs() < 1e-6 {
            1.0
        } else {
            factor
        };
        if !factor.is_finite() || factor <= 0.0 {
            return Err(format!(
                "has an unusable {}: {factor}",
                section.name("rescale_factor")
            ));
        }
        let mean = channels(section, "image_mean", defaults.mean)?;
        let std = channels(section, "image_std", defaults.std)?;
        let (mean, std) = match section.take_or("do_normalize", true)? {
            true => (mean, std),
            false => ([0.0; 3], [1.0; 3]),
        };
        // (factor x - mean) / std
        self.mean = mean.map(|mean| mean / factor);
        self.std = std.map(|std| std / factor);
        Ok(())
    }
}

/// A size in one of transformers' forms.
fn size(value: &Value, square: bool) -> Option<Size> {
    let number = |value: &Value| value.as_u64().map(|number| number as usize);
    if let Some(side) = number(value) {
        return Some(match square {
            true => Size::Square(side),
            false => Size::Shorter(side),
        });
    }
    if let Value::Array(sides) = value {
        return match sides.as_slice() {
            [height, width] if height == width => number(height).map(Size::Square),
            _ => None,
        };
    }
    let entries: Vec<(&str, &Value)> = (value.as_object()?.iter())
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.as_str(), value))
        .collect();
    match entries.as_slice() {
        [("shortest_edge", side)] => number(side).map(Size::Shorter),
        [("height", height), ("width", width)] | [("width", width), ("height", height)]
            if height == width =>
        {
            number(height).map(Size::Square)
        }
        _ => None,
    }
}
