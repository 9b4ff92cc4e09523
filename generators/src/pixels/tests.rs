//! Colours, palettes and the state of pixels.

use candle_core::Device;

use super::*;

fn pixels(palette: Option<Palette>) -> Pixels {
    let config = Config {
        palette,
        noise: 0.2,
        lr: Schedule::from(0.03),
        ..Config::default()
    };
    let context = BuildContext::new([6, 4], 300, 5, &Device::Cpu);
    Pixels::new(&config, &context).expect("pixels")
}

/// Half one colour, half another.
fn aim() -> Tensor {
    let half = |color: [f32; 3]| {
        let color = Tensor::new(&color, &Device::Cpu)?.reshape((1, 3, 1, 1))?;
        color.broadcast_as((1, 3, 4, 3))
    };
    let halves = half([0.9, 0.1, 0.2]).and_then(|a| Tensor::cat(&[a, half([0.1, 0.4, 0.8])?], 3));
    halves.expect("an image")
}

fn off(pixels: &mut Pixels, steps: usize) -> f32 {
    for _ in 0..steps {
        let image = pixels.render().expect("an image");
        let grad = (&image - aim()).expect("a gradient");
        pixels.step(image, &grad).expect("a step");
    }
    let image = pixels.render().expect("an image");
    let off = (image - aim()).and_then(|x| x.abs()?.max_all()?.to_scalar::<f32>());
    off.expect("a number")
}

#[test]
fn pixels_take_any_colour() {
    assert!(off(&mut pixels(None), 200) < 0.02);
}

#[test]
fn a_palette_is_learned() {
    assert!(off(&mut pixels(Some(Palette::Learned(2))), 300) < 0.05);
}

#[test]
fn a_fixed_palette_is_all_that_shows() {
    let colors = [[26, 102, 204], [230, 26, 51], [255, 255, 255]];
    let mut pixels = pixels(Some(Palette::Fixed(colors.map(Color).to_vec())));
    off(&mut pixels, 100);
    let image = pixels
        .render()
        .expect("an image")
        .flatten(2, 3)
        .expect("planes");
    let image = image
        .squeeze(0)
        .and_then(|x| x.t()?.to_vec2::<f32>())
        .expect("colours");
    for (i, color) in image.iter().enumerate() {
        let expected = if i % 6 < 3 { 1 } else { 0 };
        assert_eq!(
            color[..],
            colors[expected].map(|level| f32::from(level) / 255.0),
            "{i}"
        );
    }
}

#[test]
fn the_gradient_is_the_images_own() {
    let mut pixels = pixels(None);
    let image = pixels.render().expect("an image");
    let grad = image.affine(1.0, -0.3).expect("a gradient");
    let rendered = pixels.rendered.take().expect("a render");
    let inside = (rendered.clamp)(&grad).expect("a gradient");
    let off = (inside - grad).and_then(|x| x.abs()?.max_all()?.to_scalar::<f32>());
    assert_eq!(off.expect("a number"), 0.0);
}

#[test]
fn saved_pixels_go_on_to_the_same_bytes() {
    let mut whole = pixels(Some(Palette::Learned(3)));
    off(&mut whole, 3);
    let saved = whole.save().expect("a state");
    let mut resumed = pixels(Some(Palette::Learned(3)));
    resumed.load(&saved).expect("a state that fits");
    assert_eq!(off(&mut whole, 4), off(&mut resumed, 4));
}
