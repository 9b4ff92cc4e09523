//! transformers' preprocessing of pictures: `preprocessor_config.json`, or `image_processor` in `processor_config.json`.

use serde_json::Value;

use super::section::{Section, channels};
use super::{ClipConfig, ConfigError, MEAN, STD};
use crate::preprocess::{Interpolation, ResizeMode};

/// The defaults of an image processor's class, for keys that its file leaves out.
struct Defaults {
    mean: [f64; 3],
    std: [f64; 3],
    resample: u32,
    /// Whether the picture is cropped to its centre.
    crop: bool,
    /// Whether a size that is one number applies to both edges instead of the shortest one.
    square: bool,
}

const CLIP: Defaults = Defaults {
    mean: MEAN,
    std: STD,
    resample: 3,
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
            resample: 2,
            square: true,
            ..halves
        }),
        _ => None,
    }
}

impl ClipConfig {
    /// This configuration with the preprocessing of `preprocessor_config.json` or transformers 5's `processor_config.json`.
    ///
    /// # Errors
    /// If a key has an unsupported value, or the preprocessed pictures would not have the model's size.
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
                    "describes a `{class}`; CLIPImageProcessor, SiglipImageProcessor and ViTImageProcessor are supported"
                )
            })?,
        };
        self.preprocess.interpolation = match section.take_or("resample", defaults.resample)? {
            3 => Interpolation::Bicubic,
            2 => Interpolation::Bilinear,
            1 => Interpolation::Lanczos,
            other => {
                return Err(format!(
                    "has the resampling {other} ({}); 1 (Lanczos), 2 (bilinear) and 3 (bicubic) are supported",
                    section.name("resample")
                ));
            }
        };
        self.resize(&mut section, &defaults)?;
        self.normalize(&mut section, &defaults)?;
        // all pictures are read as RGB
        section.ignore(&["do_convert_rgb"]);
        let step = (section.entries().iter())
            .find(|(key, value)| key.starts_with("do_") && **value != Value::Bool(false));
        if let Some((step, value)) = step {
            return Err(format!(
                "has {} = {value}, a step that is not supported",
                section.name(step)
            ));
        }
        self.checked()
    }

    /// Reads how a picture is resized and cropped.
    fn resize(&mut self, section: &mut Section, defaults: &Defaults) -> Result<(), ConfigError> {
        let side = self.vision.image_size;
        let name = section.name("do_resize");
        if !section.take_or("do_resize", true)? {
            return Err(format!(
                "has {name} = false; pictures have any size here, and the model takes {side} x {side} pixels"
            ));
        }
        let square = section.take_or("default_to_square", defaults.square)?;
        let named = section.name("size");
        let (mode, before) = match section.take::<Value>("size")? {
            Some(value) => size(&value, square).ok_or_else(|| {
                format!(
                    "has {named} = {value}; a number, `shortest_edge`, or equal `height` and `width` are supported"
                )
            })?,
            None if defaults.crop => (ResizeMode::Shortest, side),
            None => (ResizeMode::Squash, side),
        };
        let crop = section.name("crop_size");
        let cropped = if section.take_or("do_center_crop", defaults.crop)? {
            Some(match section.take::<Value>("crop_size")? {
                None => side,
                Some(value) => match size(&value, true) {
                    Some((ResizeMode::Squash, side)) => side,
                    _ => return Err(format!("has {crop} = {value}, which is not a square")),
                },
            })
        } else {
            None
        };
        let other = |name: &str, found: usize| {
            Err(format!(
                "has {name} = {found}, and the model takes {side} x {side} pixels"
            ))
        };
        match cropped {
            Some(cropped) if cropped != side => return other(&crop, cropped),
            Some(_) if before < side => {
                return Err(format!(
                    "has {named} = {before}, less than the {side} pixels of {crop}; padding with black is not supported"
                ));
            }
            None if before != side => return other(&named, before),
            None if mode == ResizeMode::Shortest => {
                return Err(format!(
                    "has {} = false, and {named} is the size of the shorter side: pictures that are not square would not fit the model",
                    section.name("do_center_crop")
                ));
            }
            _ => {}
        }
        self.preprocess.resize_mode = mode;
        self.preprocess.resize = before;
        Ok(())
    }

    /// Reads how pixels are scaled and normalised.
    fn normalize(&mut self, section: &mut Section, defaults: &Defaults) -> Result<(), ConfigError> {
        let factor = section.take_or("rescale_factor", 1.0 / 255.0)?;
        let rescale = section.take_or("do_rescale", true)?;
        // pixels are 0..=1 here, and 0..=255 there
        let mut factor: f64 = if rescale { 255.0 * factor } else { 255.0 };
        // 1/255 is rounded differently in different files
        if (factor - 1.0).abs() < 1e-6 {
            factor = 1.0;
        }
        if !factor.is_finite() || factor <= 0.0 {
            return Err(format!(
                "has an unusable {}: {factor}",
                section.name("rescale_factor")
            ));
        }
        let mut mean = channels(section, "image_mean", defaults.mean)?;
        let mut std = channels(section, "image_std", defaults.std)?;
        if !section.take_or("do_normalize", true)? {
            (mean, std) = ([0.0; 3], [1.0; 3]);
        }
        // (factor x - mean) / std
        self.mean = mean.map(|mean| mean / factor);
        self.std = std.map(|std| std / factor);
        Ok(())
    }
}

/// A size in one of transformers' forms: how a picture is resized before it is cropped, and the side that it then has.
fn size(value: &Value, square: bool) -> Option<(ResizeMode, usize)> {
    let given = |value: &&Value| !value.is_null();
    let keys = (value.as_object()).map_or(0, |sides| sides.values().filter(given).count());
    let (mode, side) = match value {
        Value::Number(_) if square => (ResizeMode::Squash, value),
        Value::Number(_) => (ResizeMode::Shortest, value),
        Value::Array(sides) if sides.len() == 2 && sides[0] == sides[1] => {
            (ResizeMode::Squash, &sides[0])
        }
        Value::Object(_) if keys == 1 => (ResizeMode::Shortest, &value["shortest_edge"]),
        Value::Object(_) if keys == 2 && value["height"] == value["width"] => {
            (ResizeMode::Squash, &value["height"])
        }
        _ => return None,
    };
    Some((mode, side.as_u64()? as usize))
}
