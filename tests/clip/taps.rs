//! The activations of an image tower's layers, and the gradient through several of them: beside transformers and open_clip.
//!
//! `tests/fixtures/make_taps.py` computed them.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use frozen::Layer;
use frozen::kernel::composed;
use phantasia::clip::{Clip, DTypePolicy, LayerKind, Tap, Tower};

use crate::common::clips::{error, load, pixels, tensors};
use crate::common::fixture;

/// The activations, the embedding and the gradients of a fixture's model, in both ways of computing.
fn taps_agree(name: &str, kind: LayerKind) -> Result<()> {
    let reference = tensors("taps.safetensors")?;
    let of = |key: &str| &reference[&format!("{name}.{key}")];
    let clip = load(&fixture(name));
    let tower = &clip.towers()[0];
    let (count, found) = tower.layers();
    assert_eq!(found, kind);
    assert!(!reference.contains_key(&format!("{name}.layer.{count}")));
    let (x, std) = pixels(of("pixels"))?;
    let layers: Vec<Tap> = (0..count).map(Tap::Layer).collect();
    let taps = [layers.as_slice(), &[Tap::Embedding]].concat();
    let check = || -> Result<()> {
        let (values, pullback) = tower.vjp_taps(&x, &taps)?;
        for (layer, value) in values[..count].iter().enumerate() {
            let error = error(value, of(&format!("layer.{layer}")))?;
            assert!(error < 1e-5, "{name} layer {layer}: {error:e}");
        }
        assert!(error(&values[count], of("embedding"))? < 1e-5);
        let mut factors: Vec<Tensor> = (0..count)
            .map(|layer| of(&format!("factor.{layer}")).clone())
            .collect();
        factors.push(of("factor.embedding").clone());
        let off = error(&pullback(&factors)?.broadcast_mul(&std)?, of("grad"))?;
        assert!(off < 1e-4, "{name}: the gradient of all is off by {off:e}");
        // no layer beyond the last that is asked for counts
        let (_, pullback) = tower.vjp_taps(&x, &taps[count - 1..count])?;
        let grad = pullback(&factors[count - 1..count])?;
        let off = error(&grad.broadcast_mul(&std)?, of("grad.last"))?;
        assert!(off < 1e-4, "{name}: the last layer's is off by {off:e}");
        Ok(())
    };
    check()?;
    composed(check)
}

#[test]
fn layers_agree_in_the_hugging_face_layout() -> Result<()> {
    taps_agree("clip-hf-quick", LayerKind::Block)?;
    taps_agree("clip-hf-gelu", LayerKind::Block)
}

#[test]
fn layers_agree_in_the_open_clip_layout() -> Result<()> {
    taps_agree("clip-open-vit", LayerKind::Block)
}

#[test]
fn stages_of_a_resnet_agree() -> Result<()> {
    taps_agree("clip-open-resnet", LayerKind::Stage)
}

/// What is asked for in another order, and twice, is the same.
#[test]
fn the_order_of_taps_does_not_matter() -> Result<()> {
    let clip = load(&fixture("clip-hf-quick"));
    let tower = &clip.towers()[0];
    let x = Tensor::full(0.3f32, (1, 3, 32, 32), &Device::Cpu)?;
    let taps = [Tap::Embedding, Tap::Layer(0), Tap::Layer(0)];
    let (values, pullback) = tower.vjp_taps(&x, &taps)?;
    assert_eq!(bytes(&values[1])?, bytes(&values[2])?);
    assert_eq!(bytes(&values[0])?, bytes(&tower.eval(&x)?)?);
    let ones = values[1].ones_like()?;
    let none = values[0].zeros_like()?;
    let twice = pullback(&[none.clone(), ones.clone(), ones.clone()])?;
    let once = pullback(&[none, (ones * 2.0)?, values[2].zeros_like()?])?;
    assert!(error(&twice, &once)? < 1e-6);
    assert!(pullback(&values[..2]).is_err());
    Ok(())
}

#[test]
fn the_plain_path_is_that_of_the_embedding_alone() -> Result<()> {
    for name in ["clip-hf-quick", "clip-open-resnet"] {
        let clip = load(&fixture(name));
        let tower = &clip.towers()[0];
        let (x, _) = pixels(&tensors("taps.safetensors")?[&format!("{name}.pixels")])?;
        let (value, plain) = tower.vjp(&x)?;
        let (values, several) = tower.vjp_taps(&x, &[Tap::Layer(0), Tap::Embedding])?;
        assert_eq!(bytes(&values[1])?, bytes(&value)?);
        let grad = value.ones_like()?;
        let grads = several(&[values[0].zeros_like()?, grad.clone()])?;
        assert!(error(&grads, &plain(&grad)?)? < 1e-6);
    }
    Ok(())
}

#[test]
fn a_layer_that_is_not_there_is_an_error() -> Result<()> {
    let clip = load(&fixture("clip-hf-quick"));
    let x = Tensor::zeros((1, 3, 32, 32), DType::F32, &Device::Cpu)?;
    let error = clip.towers()[0].vjp_taps(&x, &[Tap::Layer(2)]).err();
    assert!(error.expect("refused").to_string().contains("2 layers"));
    assert!(
        clip.towers()[0]
            .vjp_taps(&x, &[])
            .and_then(|(_, back)| back(&[]))
            .is_err()
    );
    Ok(())
}

#[test]
fn the_embedded_towers_name_their_layers() -> Result<()> {
    let clip = Clip::embedded(&Device::Cpu)?;
    let layers: Vec<_> = clip.towers().iter().map(Tower::layers).collect();
    assert_eq!(layers, [(6, LayerKind::Block), (4, LayerKind::Stage)]);
    Ok(())
}

/// In half precision the values and gradients are those of full precision up to rounding, however small the gradients are.
#[test]
fn layers_can_be_read_in_half_precision() -> Result<()> {
    let name = "clip-hf-quick";
    let reference = tensors("taps.safetensors")?;
    let (x, _) = pixels(&reference[&format!("{name}.pixels")])?;
    let files = phantasia::clip::files::ClipFiles::in_folder(&fixture(name))?;
    let run = |compute: DType, size: f64| -> Result<Vec<Tensor>> {
        let dtypes = DTypePolicy {
            weights: DType::F32,
            compute,
        };
        let clip = Clip::from_files(name, &files, dtypes, &Device::Cpu)?;
        let (values, pullback) = clip.towers()[0].vjp_taps(&x, &[Tap::Layer(0), Tap::Layer(1)])?;
        let factors = [0, 1].map(|layer| &reference[&format!("{name}.factor.{layer}")] * size);
        let grad = (pullback(&factors.into_iter().collect::<Result<Vec<_>, _>>()?)? / size)?;
        Ok([values, vec![grad]].concat())
    };
    let full = run(DType::F32, 1.0)?;
    for (found, expected) in run(DType::F16, 1e-6)?.iter().zip(&full) {
        assert_eq!(found.dtype(), DType::F32);
        let off = error(found, expected)?;
        assert!(off < 0.01, "f16 is off by {off}");
    }
    Ok(())
}

fn bytes(x: &Tensor) -> Result<Vec<u32>> {
    let values = x.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.into_iter().map(f32::to_bits).collect())
}
