//! The cellular automaton beside PyTorch; `fixtures/make_cellular.py` made the numbers.

use std::collections::HashMap;

use candle_core::{Device, Result, Tensor};
use phantasia_generators::cellular::{Padding, Rule, RuleConfig};

const FIXTURE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/cellular.safetensors"
);

#[track_caller]
fn assert_near(name: &str, found: &Tensor, expected: &Tensor) -> Result<()> {
    let expected = expected.reshape(found.shape())?;
    let off = (found - &expected)?.abs()?.max_all()?.to_scalar::<f64>()?;
    let size = expected.abs()?.max_all()?.to_scalar::<f64>()?;
    assert!(off < 1e-12 * (1.0 + size), "{name}: {off} of {size}");
    Ok(())
}

fn compare(padding: Padding, name: &str) -> Result<()> {
    let numbers: HashMap<String, Tensor> = candle_core::safetensors::load(FIXTURE, &Device::Cpu)?;
    let config = RuleConfig {
        channels: 5,
        hidden: 9,
        fire_rate: 0.5,
        padding,
    };
    let rule = Rule::from_parts(
        config,
        numbers["w1.weight"].reshape((9, 20))?,
        numbers["w1.bias"].clone(),
        numbers["w2.weight"].reshape((5, 9))?,
    )?;
    let (end, back) = rule.rollout(&numbers["state"], 4, 77)?;
    assert_near("the states", &end, &numbers[&format!("{name}.end")])?;
    let found = back(&numbers["grad"])?;
    for (key, found) in [
        ("state", found.state),
        ("w1.weight", found.w1),
        ("w1.bias", found.b1),
        ("w2.weight", found.w2),
    ] {
        assert_near(key, &found, &numbers[&format!("{name}.grad.{key}")])?;
    }
    Ok(())
}

#[test]
fn iterations_and_gradients_are_those_of_pytorch_with_circular_edges() -> Result<()> {
    compare(Padding::Circular, "circular")
}

#[test]
fn iterations_and_gradients_are_those_of_pytorch_with_edges_of_zeros() -> Result<()> {
    compare(Padding::Zero, "zero")
}
