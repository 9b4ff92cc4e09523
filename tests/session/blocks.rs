//! Pixel art: `output.pixel_size`, for generators that paint the reduced picture, and for those whose pictures are averaged.

use anyhow::Result;
use candle_core::{Device, Tensor};
use phantasia::recipe::Recipe;
use phantasia::session::{Session, SessionOptions};

use crate::common::ball::values;
use crate::common::parse;

const GENERATORS: [&str; 4] = [
    "pyramid",
    "{ kind: fft, starts: 2 }",
    "{ kind: vqgan, model: embedded }",
    "[{ kind: pyramid, steps: 1 }, { kind: pixels, steps: 1, size: [16, 24] }]",
];

fn recipe(generator: &str) -> Recipe {
    parse(&format!(
        "prompts: a cat\nsize: [24, 16]\nsteps: 2\nseed: 7\ncutouts: {{ count: 1 }}\nterms: {{ retrieval: 0 }}\n\
         clip: embedded/resnet\noutput: {{ pixel_size: 8 }}\ngenerator: {generator}\n"
    ))
}

fn painted(session: &mut Session) -> Result<Tensor> {
    while !session.tick()?.finished {}
    session.image()
}

#[test]
fn the_picture_is_in_blocks_also_after_a_resume() -> Result<()> {
    for generator in GENERATORS {
        let recipe = recipe(generator);
        let mut session = Session::new(&recipe, &Device::Cpu)?;
        let first = session.tick()?;
        // the start that was chosen is the one that the first step judges
        for note in session.take_notes() {
            let loss = format!("its loss is {:.4}", first.loss);
            assert!(note.contains(&loss), "{generator}: {note}");
        }
        let saved = session.save()?;
        let image = painted(&mut session)?;
        let (_, _, h, w) = image.dims4()?;
        let shown = values(&image);
        for (i, value) in shown.iter().enumerate() {
            let (row, x) = (i / w, i % w);
            // the height of the picture is one of blocks, too
            assert_eq!(
                *value,
                shown[row / 8 * 8 * w + x / 8 * 8],
                "{generator} {i}"
            );
        }
        let last = recipe.generator.0.len() - 1;
        assert_eq!([w, h], recipe.stage_size(last), "{generator}");
        let options = SessionOptions::default();
        let mut resumed = Session::resume(&recipe, &Device::Cpu, &options, saved)?;
        assert!(values(&painted(&mut resumed)?) == shown, "{generator}");
    }
    Ok(())
}
