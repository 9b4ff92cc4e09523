//! The transform, the gradient, the start and the state of a spectrum.

use super::*;

fn fft(width: usize, height: usize, init: Option<&Tensor>) -> Fft {
    let config = Config {
        contrast: 1.0,
        ..Config::default()
    };
    let context = BuildContext {
        init,
        ..BuildContext::new([width, height], 20, 3, &Device::Cpu)
    };
    Fft::new(&config, &context).expect("a spectrum")
}

fn wave(shape: (usize, usize, usize, usize)) -> Tensor {
    let count = shape.0 * shape.1 * shape.2 * shape.3;
    let values: Vec<f32> = (0..count).map(|i| (1.3 * i as f32).sin()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).expect("a tensor")
}

fn values(x: &Tensor) -> Vec<f32> {
    x.flatten_all().and_then(|x| x.to_vec1()).expect("numbers")
}

#[test]
fn the_transform_is_the_inverse_fourier_transform() {
    for (width, height) in [(6, 5), (7, 4)] {
        let fft = fft(width, height, None);
        let [real, imaginary] = fft.optimizer.parameters() else {
            panic!("two parts")
        };
        let found = fft
            .transform
            .inverse([real.as_tensor(), imaginary.as_tensor()]);
        let found = values(&found.expect("a picture"));
        let (real, imaginary) = (values(real), values(imaginary));
        let frequencies = width / 2 + 1;
        for y in 0..height {
            for x in 0..width {
                let mut sum = 0.0;
                for ky in 0..height {
                    for kx in 0..frequencies {
                        let turn = (ky * y) as f64 / height as f64 + (kx * x) as f64 / width as f64;
                        let (sin, cos) = (std::f64::consts::TAU * turn).sin_cos();
                        let i = ky * frequencies + kx;
                        let part = f64::from(real[i]) * cos - f64::from(imaginary[i]) * sin;
                        sum += if kx == 0 || 2 * kx == width {
                            part
                        } else {
                            2.0 * part
                        };
                    }
                }
                let expected = sum / ((width * height) as f64).sqrt();
                assert!((f64::from(found[y * width + x]) - expected).abs() < 1e-6);
            }
        }
    }
}

#[test]
fn gradients_match_finite_differences() {
    let mut fft = fft(7, 6, None);
    let upstream = wave((1, 3, 6, 7));
    let image = fft.render().expect("an image");
    let grads = (image * &upstream)
        .and_then(|x| x.sum_all()?.backward())
        .expect("gradients");
    for part in 0..2 {
        let parameter = fft.optimizer.parameters()[part].clone();
        let before = parameter.as_detached_tensor().copy().expect("a copy");
        let found = values(grads.get(&parameter).expect("a gradient"));
        let plain = values(&before);
        for i in (0..plain.len()).step_by(7) {
            let mut at = |h: f32| {
                let mut moved = plain.clone();
                moved[i] += h;
                let moved =
                    Tensor::from_vec(moved, before.shape(), &Device::Cpu).expect("a tensor");
                parameter.set(&moved).expect("a parameter");
                let image = fft.render().expect("an image");
                let sum = (image * &upstream).and_then(|x| x.sum_all()?.to_scalar::<f32>());
                f64::from(sum.expect("a number"))
            };
            let slope = (at(1e-4) - at(-1e-4)) / 2e-4;
            let scale = 1.0 + slope.abs();
            assert!(
                (slope - f64::from(found[i])).abs() < 2e-2 * scale,
                "{part} {i}: {slope} {}",
                found[i]
            );
        }
        parameter.set(&before).expect("a parameter");
    }
}

#[test]
fn an_init_image_is_the_first_render() {
    for (width, height) in [(8, 6), (7, 5)] {
        let init = wave((1, 3, height, width))
            .affine(0.4, 0.5)
            .expect("an image");
        let mut fft = fft(width, height, Some(&init));
        let found = values(&fft.render().expect("an image"));
        for (a, b) in found.iter().zip(values(&init)) {
            // the mean counts for nothing in a deviation
            assert!((a - b).abs() < 2e-3, "{a} {b}");
        }
    }
}

#[test]
fn a_saved_spectrum_goes_on_to_the_same_bytes() {
    let upstream = wave((1, 3, 6, 8));
    let run = |fft: &mut Fft| {
        for _ in 0..3 {
            let image = fft.render().expect("an image");
            fft.step(image, &upstream).expect("a step");
        }
    };
    let mut whole = fft(8, 6, None);
    run(&mut whole);
    let saved = whole.save().expect("a state");
    run(&mut whole);
    let mut resumed = fft(8, 6, None);
    resumed.load(&saved).expect("a state that fits");
    run(&mut resumed);
    assert_eq!(
        values(&whole.render().expect("an image")),
        values(&resumed.render().expect("an image"))
    );
}
