//! The rule's gradients, its promises, and its training.

use candle_core::Device;

use super::*;
use frozen::kernel::composed;

fn config(channels: usize, hidden: usize, padding: Padding) -> RuleConfig {
    RuleConfig {
        channels,
        hidden,
        fire_rate: 0.6,
        padding,
    }
}

/// Numbers in -1..1 without a pattern.
fn wave(count: usize, phase: f64) -> Vec<f64> {
    (0..count)
        .map(|i| (1.7 * i as f64 + phase).sin() * (0.31 * i as f64 * i as f64).cos())
        .collect()
}

fn tensor(shape: &[usize], phase: f64) -> Tensor {
    let values = wave(shape.iter().product(), phase);
    Tensor::from_vec(values, shape, &Device::Cpu).expect("a tensor")
}

/// A rule in f64 whose last layer is not zero.
fn rule(channels: usize, hidden: usize, padding: Padding) -> Rule {
    let w1 = (tensor(&[hidden, 4 * channels], 0.3) * 0.2).expect("a tensor");
    let w2 = (tensor(&[channels, hidden], 0.9) * 0.2).expect("a tensor");
    let b1 = tensor(&[hidden], 0.1);
    Rule::from_parts(config(channels, hidden, padding), w1, b1, w2).expect("a rule")
}

fn values(x: &Tensor) -> Vec<f64> {
    let x = x.to_dtype(DType::F64).and_then(|x| x.flatten_all());
    x.and_then(|x| x.to_vec1()).expect("numbers")
}

#[track_caller]
fn assert_near(a: &Tensor, b: &Tensor, tolerance: f64) {
    assert_eq!(a.dims(), b.dims());
    for (i, (a, b)) in values(a).iter().zip(values(b)).enumerate() {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{i}: {a} {b}");
    }
}

#[test]
fn gradients_match_finite_differences() {
    for (padding, height, width) in [
        (Padding::Circular, 5, 7),
        (Padding::Zero, 5, 7),
        (Padding::Circular, 1, 3),
        (Padding::Circular, 3, 1),
        (Padding::Zero, 1, 2),
        // more than one tile
        (Padding::Circular, 3, 600),
        (Padding::Zero, 3, 600),
    ] {
        let rule = rule(4, 6, padding);
        let state = tensor(&[2, 4, height, width], 0.5);
        let weights = tensor(&[2, 4, height, width], 2.0);
        let loss = |rule: &Rule, state: &Tensor| -> f64 {
            let end = rule.advance(state, 0..5, 11).expect("states");
            values(&(end * &weights).expect("a product")).iter().sum()
        };
        let (_, back) = rule.rollout(&state, 5, 11).expect("a rollout");
        let found = back(&weights).expect("gradients");
        let parts = [
            rule.w1.clone(),
            rule.b1.clone(),
            rule.w2.clone(),
            state.clone(),
        ];
        let grads = [&found.w1, &found.b1, &found.w2, &found.state];
        for (which, grad) in grads.into_iter().enumerate() {
            let grad = values(grad);
            let stride = grad.len().div_ceil(17);
            for i in (0..grad.len()).step_by(stride) {
                let at = |h: f64| {
                    let mut parts = parts.clone();
                    let mut moved = values(&parts[which]);
                    moved[i] += h;
                    let shape = parts[which].shape().clone();
                    parts[which] = Tensor::from_vec(moved, shape, &Device::Cpu).expect("a tensor");
                    let [w1, b1, w2, state] = parts;
                    let rule = Rule::from_parts(rule.config.clone(), w1, b1, w2).expect("a rule");
                    loss(&rule, &state)
                };
                let h = 1e-6;
                let slope = (at(h) - at(-h)) / (2.0 * h);
                let error = (slope - grad[i]).abs() / (1.0 + slope.abs());
                assert!(
                    error < 2e-5,
                    "{padding:?} {width}x{height} {which} {i}: {slope} {}",
                    grad[i]
                );
            }
        }
    }
}

#[test]
fn fused_and_composed_agree() {
    for padding in [Padding::Circular, Padding::Zero] {
        let rule = rule(5, 9, padding);
        let state = tensor(&[2, 5, 20, 130], 0.5);
        let weights = tensor(&[2, 5, 20, 130], 2.0);
        let run = || {
            let (end, back) = rule.rollout(&state, 7, 3)?;
            Ok::<_, candle_core::Error>((end, back(&weights)?))
        };
        let (end, gradient) = run().expect("a rollout");
        let (other, expected) = composed(run).expect("a rollout");
        assert_near(&end, &other, 1e-12);
        assert_near(&gradient.state, &expected.state, 1e-11);
        assert_near(&gradient.w1, &expected.w1, 1e-11);
        assert_near(&gradient.b1, &expected.b1, 1e-11);
        assert_near(&gradient.w2, &expected.w2, 1e-11);
    }
}

#[test]
fn a_circular_pattern_knows_no_edge() {
    let rule = rule(4, 6, Padding::Circular);
    let mut whole = rule.config.clone();
    whole.fire_rate = 1.0;
    let rule = Rule::from_parts(whole, rule.w1, rule.b1, rule.w2).expect("a rule");
    let state = tensor(&[1, 4, 6, 9], 0.5);
    let rolled = |x: &Tensor| x.roll(2, 2).and_then(|x| x.roll(4, 3)).expect("a tensor");
    let there = rule.advance(&rolled(&state), 0..4, 0).expect("states");
    assert_near(
        &there,
        &rolled(&rule.advance(&state, 0..4, 0).expect("states")),
        1e-12,
    );
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let rule = rule(6, 16, Padding::Circular);
    let single = |x: &Tensor| x.to_dtype(DType::F32).expect("a tensor");
    let rule = Rule::from_parts(
        rule.config.clone(),
        single(&rule.w1),
        single(&rule.b1),
        single(&rule.w2),
    )
    .expect("a rule");
    let state = single(&tensor(&[2, 6, 40, 100], 0.5));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads");
        pool.install(|| {
            let (end, back) = rule.rollout(&state, 6, 3).expect("a rollout");
            let gradient = back(&end).expect("gradients");
            [end, gradient.state, gradient.w1, gradient.b1, gradient.w2].map(|x| values(&x))
        })
    };
    assert_eq!(run(1), run(3));
}

fn training() -> Config {
    Config {
        channels: 6,
        hidden: 16,
        iterations: [4, 8],
        fire_rate: 0.6,
        pool: 3,
        batch: 2,
        reseed: 3,
        damage: 0.3,
        lr: Schedule::from(0.02),
        ..Config::default()
    }
}

fn context<'a>() -> BuildContext<'a> {
    BuildContext::new([12, 10], 200, 1, &Device::Cpu)
}

fn automaton(config: &Config) -> Cellular {
    Cellular::new(config, &context()).expect("an automaton")
}

/// A step towards a colour; returns how far it was.
fn towards(automaton: &mut Cellular, color: [f32; 3]) -> f64 {
    let image = automaton.render().expect("an image");
    let aim = Tensor::new(&color, &Device::Cpu).and_then(|x| x.reshape((1, 3, 1, 1)));
    let off = image
        .broadcast_sub(&aim.expect("a colour"))
        .expect("a difference");
    automaton.step(image, &off).expect("a step");
    values(&off).iter().map(|x| x * x).sum::<f64>() / off.elem_count() as f64
}

#[test]
fn it_learns_a_colour() {
    let mut automaton = automaton(&training());
    let color = [0.9, 0.4, 0.2];
    let first = towards(&mut automaton, color);
    for _ in 1..200 {
        towards(&mut automaton, color);
    }
    let picture = automaton.picture().expect("a picture");
    let mean: Vec<f64> = values(&picture.mean((2, 3)).expect("means"));
    for (mean, aim) in mean.iter().zip(color) {
        assert!(
            (mean - f64::from(aim)).abs() < 0.1,
            "{mean:?} {aim}, at first {first}"
        );
    }
}

#[test]
fn a_saved_automaton_goes_on_to_the_same_bytes() {
    // in the middle of a batch
    for before in [4, 5] {
        let mut whole = automaton(&training());
        for _ in 0..before {
            towards(&mut whole, [1.0, 0.5, 0.0]);
        }
        let saved = whole.save().expect("a state");
        let mut resumed = automaton(&training());
        resumed.load(&saved).expect("a state that fits");
        for _ in 0..7 {
            let losses = [&mut whole, &mut resumed].map(|a| towards(a, [1.0, 0.5, 0.0]));
            assert_eq!(losses[0], losses[1]);
        }
        let pictures = [whole, resumed].map(|mut a| values(&a.picture().expect("a picture")));
        assert_eq!(pictures[0], pictures[1]);
    }
}

#[test]
fn looking_at_it_changes_nothing() {
    let (mut seen, mut unseen) = (automaton(&training()), automaton(&training()));
    for _ in 0..6 {
        seen.picture().expect("a picture");
        seen.render().expect("an image");
        let losses = [&mut seen, &mut unseen].map(|a| towards(a, [1.0, 0.5, 0.0]));
        assert_eq!(losses[0], losses[1]);
        seen.picture().expect("a picture");
    }
}

#[test]
fn it_starts_from_a_picture() {
    let init = (tensor(&[1, 3, 10, 12], 0.4) * 0.4).and_then(|x| (x + 0.5)?.to_dtype(DType::F32));
    let init = init.expect("an image");
    let context = BuildContext {
        init: Some(&init),
        ..context()
    };
    let mut automaton = Cellular::new(&training(), &context).expect("an automaton");
    assert_near(&automaton.picture().expect("a picture"), &init, 1e-6);
    let undamaged = Config {
        damage: 0.0,
        ..training()
    };
    let mut automaton = Cellular::new(&undamaged, &context).expect("an automaton");
    assert_near(&automaton.render().expect("an image"), &init, 1e-6);
}

#[test]
fn what_outgrows_its_bounds_is_pulled_back() {
    let mut config = training();
    (config.damage, config.reseed, config.pool, config.batch) = (0.0, 0, 1, 1);
    config.lr = Schedule::from(0.003);
    let mut automaton = automaton(&config);
    let wide = automaton.start.affine(1.0, 2.0).expect("a state");
    for _ in 0..40 {
        automaton.pool[0] = Some(wide.clone());
        let image = automaton.render().expect("an image");
        let none = image.zeros_like().expect("a gradient");
        automaton.step(image, &none).expect("a step");
    }
    let end = values(automaton.pool[0].as_ref().expect("a state"));
    let mean = end.iter().map(|x| x.abs()).sum::<f64>() / end.len() as f64;
    assert!(mean < 1.5, "{mean}");
}

#[test]
fn a_state_of_another_size_is_refused_and_changes_nothing() {
    let wide = BuildContext::new([14, 10], 200, 1, &Device::Cpu);
    let mut other = Cellular::new(&training(), &wide).expect("an automaton");
    towards(&mut other, [1.0, 0.5, 0.0]);
    let mut automaton = automaton(&training());
    let before = values(&automaton.render().expect("an image"));
    let error = automaton
        .load(&other.save().expect("a state"))
        .expect_err("another size");
    assert!(error.to_string().contains("another size"), "{error}");
    assert_eq!(before, values(&automaton.render().expect("an image")));
}

#[test]
fn a_rule_comes_back_from_its_artifact() {
    let mut automaton = automaton(&training());
    for _ in 0..6 {
        towards(&mut automaton, [1.0, 0.5, 0.0]);
    }
    let artifact = automaton.artifact().expect("an artifact").expect("a rule");
    assert_eq!(artifact.name, "rule");
    let back =
        Rule::from_artifact(&artifact.tensors, &artifact.settings, &Device::Cpu).expect("a rule");
    let rule = automaton.rule().expect("a rule");
    assert_eq!(back.config(), rule.config());
    let grown = [rule, back].map(|rule| {
        let start = rule.start(1, 5, 21).expect("states");
        values(&rule.advance(&start, 0..9, 1).expect("states"))
    });
    assert_eq!(grown[0], grown[1]);
    assert!(grown[0].iter().any(|x| *x != 0.0));
}

#[test]
fn a_damaged_artifact_is_refused_by_name() {
    let artifact = automaton(&training())
        .artifact()
        .expect("an artifact")
        .expect("a rule");
    let refused = |change: &dyn Fn(&mut Artifact)| {
        let mut artifact = artifact.clone();
        change(&mut artifact);
        let rule = Rule::from_artifact(&artifact.tensors, &artifact.settings, &Device::Cpu);
        rule.expect_err("a damaged rule").to_string()
    };
    let error = refused(&|a| drop(a.tensors.remove("w1.bias")));
    assert!(
        error.contains("no `w1.bias`") && error.contains("w2.weight"),
        "{error}"
    );
    let error = refused(&|a| {
        let bias = a.tensors["w1.bias"].clone();
        a.tensors.insert("w2.bias".to_owned(), bias);
    });
    assert!(error.contains("unused tensors: w2.bias"), "{error}");
    let error = refused(&|a| drop(a.settings.insert("hidden".to_owned(), "17".to_owned())));
    assert!(
        error.contains("w1.weight") && error.contains("[17, 24, 1, 1]"),
        "{error}"
    );
    let error = refused(&|a| drop(a.settings.insert("channels".to_owned(), "many".to_owned())));
    assert!(error.contains("`channels` is `many`"), "{error}");
    let error = refused(&|a| a.settings.clear());
    assert!(error.contains("no rule of a cellular automaton"), "{error}");
}

#[test]
fn damage_is_a_disc_that_reaches_around_a_circular_edge() {
    let rule = rule(3, 4, Padding::Circular);
    let state = Tensor::ones((1, 3, 9, 9), DType::F64, &Device::Cpu).expect("states");
    let hurt = |rule: &Rule| values(&rule.damage(&state, 0.5, 4.5, 2.0).expect("states"));
    let circular = hurt(&rule);
    let count = circular.iter().filter(|x| **x == 0.0).count();
    assert_eq!(count, 3 * 13);
    assert_eq!(circular[4 * 9 + 7], 0.0);
    let mut config = rule.config.clone();
    config.padding = Padding::Zero;
    let rule = Rule::from_parts(config, rule.w1, rule.b1, rule.w2).expect("a rule");
    assert_eq!(hurt(&rule)[4 * 9 + 7], 1.0);
}
