use candle_core::{Device, Tensor};
use phantasia_core::EmbeddedPrompt;

use crate::{BuildContext, Generator, GeneratorConfig, Guide};

/// Prefers pictures that are bright at the top, and remembers all that it was asked for.
#[derive(Default)]
struct Bright {
    losses: Vec<f64>,
}

impl Guide for Bright {
    fn losses(&mut self, pictures: &[Tensor]) -> anyhow::Result<Vec<f64>> {
        let losses = (pictures.iter())
            .map(loss)
            .collect::<candle_core::Result<Vec<_>>>()?;
        self.losses.extend(&losses);
        Ok(losses)
    }

    fn prompt_embeddings(&mut self) -> anyhow::Result<Vec<EmbeddedPrompt>> {
        Ok(vec![])
    }
}

fn loss(picture: &Tensor) -> candle_core::Result<f64> {
    let top = picture.narrow(2, 0, 4)?.mean_all()?.to_scalar::<f32>()?;
    Ok(-f64::from(top))
}

/// A generator of this configuration, with what it said.
fn build(config: &str, context: &mut BuildContext<'_>) -> Box<dyn Generator> {
    let config: GeneratorConfig = serde_json::from_str(config).expect("a configuration");
    config.settings().build(context).expect("a generator")
}

fn values(generator: &mut Box<dyn Generator>) -> Vec<f32> {
    let picture = generator.picture().expect("a picture");
    let values = picture.flatten_all().and_then(|values| values.to_vec1());
    values.expect("values")
}

const KINDS: [&str; 3] = [
    r#""kind": "pixels""#,
    r#""kind": "fft""#,
    r#""kind": "pyramid", "noise": 0.3"#,
];

#[test]
fn the_start_of_the_least_loss_is_kept() {
    for kind in KINDS {
        let mut guide = Bright::default();
        let mut context = BuildContext {
            guide: Some(&mut guide),
            ..BuildContext::new([16, 16], 5, 7, &Device::Cpu)
        };
        let mut best = build(&format!(r#"{{ {kind}, "starts": 6 }}"#), &mut context);
        let notes = std::mem::take(&mut context.notes);
        assert_eq!((context.warnings.len(), context.seed), (0, 7));
        let chosen = loss(&best.picture().expect("a picture")).expect("a loss");
        let least = guide.losses.iter().copied().fold(f64::MAX, f64::min);
        assert_eq!((guide.losses.len(), chosen), (6, least), "{kind}");
        let mut different = guide.losses.clone();
        different.sort_by(f64::total_cmp);
        different.dedup();
        assert_eq!(different.len(), 6, "{kind}");
        let number = 1 + guide
            .losses
            .iter()
            .position(|loss| *loss == least)
            .expect("it");
        assert!(
            notes[0].starts_with(&format!("start {number} of 6")),
            "{notes:?}"
        );
        // the first is the one without a choice
        let mut context = BuildContext::new([16, 16], 5, 7, &Device::Cpu);
        let mut first = build(&format!("{{ {kind} }}"), &mut context);
        let first = loss(&first.picture().expect("a picture")).expect("a loss");
        assert_eq!(first, guide.losses[0], "{kind}");
    }
}

#[test]
fn one_start_is_the_same_with_and_without_a_guide() {
    for kind in KINDS {
        let mut guide = Bright::default();
        let config = format!(r#"{{ {kind}, "starts": 1 }}"#);
        let mut context = BuildContext {
            guide: Some(&mut guide),
            ..BuildContext::new([16, 16], 5, 7, &Device::Cpu)
        };
        let with = values(&mut build(&config, &mut context));
        assert!(context.notes.is_empty());
        let mut context = BuildContext::new([16, 16], 5, 7, &Device::Cpu);
        assert_eq!(with, values(&mut build(&config, &mut context)));
        assert!(guide.losses.is_empty());
    }
}

#[test]
fn nothing_is_asked_where_a_state_is_loaded() {
    let mut guide = Bright::default();
    let mut context = BuildContext {
        guide: Some(&mut guide),
        is_restored: true,
        ..BuildContext::new([16, 16], 5, 7, &Device::Cpu)
    };
    build(r#"{ "kind": "pixels", "starts": 6 }"#, &mut context);
    assert!(context.notes.is_empty() && guide.losses.is_empty());
}

#[test]
fn a_picture_to_start_from_leaves_nothing_to_choose() {
    let device = Device::Cpu;
    let init = Tensor::full(0.5f32, (1, 3, 16, 16), &device).expect("an image");
    let mut guide = Bright::default();
    let mut context = BuildContext {
        guide: Some(&mut guide),
        init: Some(&init),
        ..BuildContext::new([16, 16], 5, 7, &device)
    };
    build(r#"{ "kind": "fft", "starts": 6 }"#, &mut context);
    let warnings = std::mem::take(&mut context.warnings);
    assert!(guide.losses.is_empty());
    assert!(warnings[0].contains("starts: 6"), "{warnings:?}");
}

#[test]
fn a_choice_without_a_guide_is_refused() {
    let config: GeneratorConfig =
        serde_json::from_str(r#"{ "kind": "fft", "starts": 2 }"#).expect("a configuration");
    let mut context = BuildContext::new([16, 16], 5, 7, &Device::Cpu);
    let refused = config
        .settings()
        .build(&mut context)
        .err()
        .expect("an error");
    assert!(refused.to_string().contains("needs a session"), "{refused}");
}

#[test]
fn a_choice_among_equal_starts_is_refused() {
    let is_refused = |config: &str| {
        let config: GeneratorConfig = serde_json::from_str(config).expect("a configuration");
        let mut checker = phantasia_core::check::Checker::default();
        config.settings().check(&mut checker);
        !checker.is_empty()
    };
    for wrong in [
        r#"{ "kind": "pyramid", "starts": 4, "noise": 0 }"#,
        r#"{ "kind": "pixels", "starts": 4, "noise": 0 }"#,
        r#"{ "kind": "latent", "starts": 4, "noise": 0 }"#,
        r#"{ "kind": "diffusion", "starts": 4, "sampler": "euler_ancestral" }"#,
        r#"{ "kind": "diffusion", "starts": 4, "eta": 0.5 }"#,
    ] {
        assert!(is_refused(wrong), "{wrong}");
    }
    for right in [
        r#"{ "kind": "pyramid", "starts": 4 }"#,
        r#"{ "kind": "pixels", "starts": 4, "noise": 0, "palette": 4 }"#,
        r#"{ "kind": "fft", "starts": 4 }"#,
        r#"{ "kind": "vqgan", "starts": 4 }"#,
        r#"{ "kind": "noise", "starts": 4 }"#,
        r#"{ "kind": "diffusion", "starts": 4 }"#,
    ] {
        assert!(!is_refused(right), "{right}");
    }
}
