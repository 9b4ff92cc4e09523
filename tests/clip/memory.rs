//! The memory of the embedded CLIP: against PyTorch, against finite differences, and what it makes of texts.

use anyhow::Result;
use candle_core::{Device, Tensor};
use frozen::Layer;
use phantasia::clip::memory::{Memory, MemoryConfig};
use phantasia::clip::{Clip, Shown, Tower};
use weights::checkpoint::Checkpoint;

use crate::common::fixture;

const CONFIG: MemoryConfig = MemoryConfig {
    image_size: 4,
    grey: 140,
    chroma: 0.3,
    floor: 1.5,
    steepness: 6.0,
    temperature: 0.03,
};

struct Fixture(Checkpoint);

impl Fixture {
    fn open() -> Result<Self> {
        Ok(Self(Checkpoint::open(&fixture("memory.safetensors"))?))
    }

    fn tensor(&self, key: &str) -> Result<Tensor> {
        let shape = self.0.shape(key).expect("a tensor of that name").to_vec();
        Ok(self.0.tensor(key, &shape)?)
    }

    fn memory(&self) -> Result<Memory> {
        Ok(Memory::new(&(self.tensor("pictures")? / 255.0)?, &CONFIG)?)
    }
}

fn furthest(a: &Tensor, b: &Tensor) -> Result<f32> {
    Ok((a - b)?.abs()?.max_all()?.to_scalar()?)
}

#[test]
fn a_memory_answers_and_differentiates_as_pytorch_does() -> Result<()> {
    let fixture = Fixture::open()?;
    let memory = fixture.memory()?;
    let x = fixture.tensor("x")?;
    let (y, back) = memory.vjp(&x)?;
    assert!(furthest(&y, &fixture.tensor("y")?)? < 1e-6);
    assert!(furthest(&memory.eval(&x)?, &y)? == 0.0);
    let grad = back(&fixture.tensor("upstream")?)?;
    assert!(furthest(&grad, &fixture.tensor("grad")?)? < 1e-6);
    Ok(())
}

#[test]
fn the_gradient_of_a_memory_is_that_of_finite_differences() -> Result<()> {
    let fixture = Fixture::open()?;
    let memory = fixture.memory()?;
    let (x, upstream) = (fixture.tensor("x")?, fixture.tensor("upstream")?);
    let value = |x: &Tensor| -> Result<f64> {
        let product = (memory.eval(x)? * &upstream)?.flatten_all()?;
        Ok(product.to_vec1::<f32>()?.into_iter().map(f64::from).sum())
    };
    let (_, back) = memory.vjp(&x)?;
    let grad = back(&upstream)?.flatten_all()?.to_vec1::<f32>()?;
    let shape = x.shape().clone();
    let pixels = x.flatten_all()?.to_vec1::<f32>()?;
    let step = 1e-2f32;
    for i in (0..pixels.len()).step_by(7) {
        let moved = |by: f32| -> Result<f64> {
            let mut pixels = pixels.clone();
            pixels[i] += by;
            value(&Tensor::from_vec(pixels, &shape, &Device::Cpu)?)
        };
        let slope = (moved(step)? - moved(-step)?) / f64::from(2.0 * step);
        assert!(
            (slope - f64::from(grad[i])).abs() < 2e-4,
            "pixel {i}: {slope} and {}",
            grad[i]
        );
    }
    Ok(())
}

/// The towers that remember things and places.
fn memories(clip: &Clip) -> (&Tower, &Tower) {
    let of = |name: &str| {
        let tower = clip.towers().iter().find(|tower| tower.name() == name);
        tower.expect("the embedded CLIP has it")
    };
    (of("embedded/things"), of("embedded/places"))
}

#[test]
fn a_text_is_looked_up_among_things_places_or_both() -> Result<()> {
    let clip = Clip::embedded(&Device::Cpu)?;
    let (things, places) = memories(&clip);
    let sure = |text: &str| -> Result<(f64, f64)> {
        let text = clip.embed_text(text)?.vector;
        Ok((things.text(&text).sure, places.text(&text).sure))
    };
    let (thing, place) = sure("a butterfly")?;
    assert!(thing > 0.9 && place == 0.0, "{thing}, {place}");
    let (thing, place) = sure("sunset over the sea")?;
    assert!(thing == 0.0 && place > 0.9, "{thing}, {place}");
    let (thing, place) = sure("a fish underwater")?;
    assert!(thing > 0.5 && place > 0.5, "{thing}, {place}");
    let (thing, place) = sure("the categorical imperative")?;
    assert!(thing < 0.7 && place < 0.7, "{thing}, {place}");
    Ok(())
}

#[test]
fn an_aim_has_unit_length_and_the_width_of_the_tower() -> Result<()> {
    let clip = Clip::embedded(&Device::Cpu)?;
    let text = clip.embed_text("a red apple")?.vector;
    for tower in clip.towers() {
        let aim = tower.text(&text).vector;
        let length: f32 = aim.iter().map(|value| value * value).sum();
        assert!((length - 1.0).abs() < 1e-4, "{}: {length}", tower.name());
        let size = tower.size();
        let picture = Tensor::full(0.5f32, (1, 3, size, size), &Device::Cpu)?;
        assert_eq!(tower.eval(&picture)?.dims(), [1, aim.len()]);
    }
    Ok(())
}

#[test]
fn a_picture_like_nothing_is_no_aim() -> Result<()> {
    let clip = Clip::embedded(&Device::Cpu)?;
    let (things, places) = memories(&clip);
    assert_eq!(things.shown(), Shown::Middle);
    assert_eq!(places.shown(), Shown::All);
    let size = things.size();
    let grey = Tensor::full(140.0f32 / 255.0, (1, 3, size, size), &Device::Cpu)?;
    let answer = things.eval(&grey)?.squeeze(0)?.to_vec1::<f32>()?;
    assert!(things.picture(&answer).sure < 0.1);
    Ok(())
}
