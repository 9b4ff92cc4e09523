//! Text in PNG files: a picture contains its recipe.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Seek, Write};

use image::RgbImage;
use png::EncodingError;

/// The bytes that a PNG begins with.
pub const SIGNATURE: [u8; 8] = [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n'];
/// The keyword of the recipe: YAML.
pub const RECIPE: &str = "phantasia.recipe";
/// The keyword of the seed.
pub const SEED: &str = "phantasia.seed";
/// The keyword of the program's version.
pub const SOFTWARE: &str = "Software";

/// The longest text that is read, in bytes.
const LONGEST: usize = 4 << 20;

/// Writes an 8-bit RGB PNG with texts by keyword (Latin-1, 1 to 79 characters).
///
/// # Errors
/// If `out` fails, or a keyword is not valid.
pub fn write(out: impl Write, image: &RgbImage, texts: &[(&str, &str)]) -> io::Result<()> {
    encode(out, image, texts).map_err(|error| match error {
        // callers look at the kind of the error
        EncodingError::IoError(error) => error,
        other => io::Error::other(other),
    })
}

fn encode(out: impl Write, image: &RgbImage, texts: &[(&str, &str)]) -> Result<(), EncodingError> {
    let mut encoder = png::Encoder::new(out, image.width(), image.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_source_srgb(png::SrgbRenderingIntent::Perceptual);
    for (keyword, text) in texts {
        encoder.add_itxt_chunk((*keyword).to_owned(), (*text).to_owned())?;
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(image.as_raw())?;
    writer.finish()
}

/// The texts before a PNG's pixels, by keyword. Damaged texts are left out.
///
/// # Errors
/// If the file is not a PNG, or damaged before its pixels.
pub fn read(file: impl BufRead + Seek) -> Result<BTreeMap<String, String>, png::DecodingError> {
    let decoder = png::Decoder::new_with_limits(file, png::Limits { bytes: LONGEST });
    let reader = decoder.read_info()?;
    let info = reader.info();
    let plain = info.uncompressed_latin1_text.iter();
    let plain = plain.map(|chunk| (&chunk.keyword, Ok(chunk.text.clone())));
    let compressed = info.compressed_latin1_text.iter();
    let compressed = compressed.map(|chunk| (&chunk.keyword, chunk.get_text()));
    let utf8 = (info.utf8_text.iter()).map(|chunk| (&chunk.keyword, chunk.get_text()));
    Ok((plain.chain(compressed).chain(utf8))
        .filter_map(|(keyword, text)| Some((keyword.clone(), text.ok()?)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn texts_come_back() {
        let image = RgbImage::new(3, 2);
        let mut bytes = vec![];
        write(
            &mut bytes,
            &image,
            &[(RECIPE, "prompts: [é\n]"), (SOFTWARE, "phantasia")],
        )
        .unwrap();
        let texts = read(Cursor::new(&bytes)).unwrap();
        assert_eq!(texts[RECIPE], "prompts: [é\n]");
        assert_eq!(texts[SOFTWARE], "phantasia");
        assert_eq!(image::load_from_memory(&bytes).unwrap().to_rgb8(), image);
    }

    #[test]
    fn what_is_not_a_png_is_an_error() {
        assert!(read(Cursor::new(b"GIF89a")).is_err());
        assert!(read(Cursor::new(SIGNATURE)).is_err());
    }
}
