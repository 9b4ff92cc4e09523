//! What compares the picture with other pictures: the terms `content` and `style`, prompts with a `source`, and prompts that go through
//! several texts.

use std::fs;
use std::path::Path;

use anyhow::Result;
use candle_core::{Device, Tensor};
use frozen::kernel::composed;
use phantasia::objective::{Term, TermContext};
use phantasia::picture;
use phantasia::recipe::{Edit, Prompt, Recipe, Restart, Terms};
use phantasia::run::IMAGE;
use phantasia::session::Session;
use phantasia_core::StepContext;

use crate::common::ball::{folder, lines};
use crate::common::program::{assert_done, program, run};
use crate::common::{bytes, fixture, parse, refusal, wait_for};

/// Writes a picture of waves of a width and height that are none of the render's.
fn waves(path: &Path, frequency: f32) {
    let image = image::RgbImage::from_fn(53, 40, |x, y| {
        let wave = |phase: f32| {
            let at = (x as f32 * 0.7 + y as f32) * frequency + phase;
            (127.0 + 120.0 * at.sin()) as u8
        };
        image::Rgb([wave(0.0), wave(1.0), wave(2.5)])
    });
    image.save(path).expect("a picture");
}

/// A picture of 40 x 40 pixels that is not that of waves.
fn canvas() -> Tensor {
    let values =
        (0..3 * 40 * 40).map(|i| 0.5 + 0.4 * (0.37 * i as f32).sin() * (0.011 * i as f32).cos());
    Tensor::from_iter(values, &Device::Cpu)
        .and_then(|x| x.reshape((1, 3, 40, 40)))
        .expect("a picture")
}

fn term(terms: &str, memory: usize) -> Box<dyn Term> {
    let recipe = parse(&format!(
        "prompts: a\nseed: 3\ncutouts: {{ count: 3 }}\nterms: {terms}\n"
    ));
    let library = phantasia::session::Library::default();
    let mut context = TermContext::new(recipe.cutouts, recipe.seed, memory, library, &Device::Cpu);
    let mut terms = recipe.terms.build(&mut context).expect("terms");
    assert_eq!(terms.len(), 1);
    terms.remove(0)
}

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    let sum = (a * b).and_then(|x| x.sum_all()?.to_scalar::<f32>());
    f64::from(sum.expect("a number"))
}

/// Along several directions the loss rises as the gradient says.
fn assert_gradient(what: &str, terms: &str) {
    let (image, at) = (canvas(), StepContext::new(2, 10));
    let mut term = term(terms, 1 << 28);
    let output = term.evaluate(&image, at).expect("a loss");
    assert!(output.loss > 0.0 && output.cutouts > 0, "{what}");
    for seed in 0..2 {
        let random = (0..image.elem_count()).map(|i| ((i * (7 + seed) + seed) as f32 * 1.7).sin());
        let random = Tensor::from_iter(random, &Device::Cpu)
            .and_then(|x| x.reshape(image.shape()))
            .expect("a direction");
        // partly the gradient itself, so that the slope is large beside rounding
        let size = dot(&output.grad, &output.grad).sqrt();
        let along = (&output.grad * (1.0 / size)).expect("a direction");
        let direction = (along + (random * 0.01)).expect("a direction");
        let mut loss = |h: f64| {
            let moved = (&image + (&direction * h)).expect("a picture");
            term.evaluate(&moved, at).expect("a loss").loss
        };
        let step = 2e-2;
        let slope = (loss(step) - loss(-step)) / (2.0 * step);
        let expected = dot(&output.grad, &direction);
        assert!(
            (slope - expected).abs() < 0.03 * expected.abs(),
            "{what}: {slope} {expected}"
        );
    }
}

#[test]
fn gradients_of_content_and_style_match_finite_differences() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("waves.png");
    waves(&image, 0.4);
    let models = [
        "clip-hf-quick",
        "clip-hf-gelu",
        "clip-open-vit",
        "clip-open-resnet",
    ]
    .map(|name| fixture(name).display().to_string());
    for model in models.iter().map(String::as_str).chain(["embedded"]) {
        for name in ["content", "style"] {
            let terms = format!(
                "{{ {name}: {{ image: {}, model: {model}, layers: [0, -1], cutouts: {{ augment: [noise], coherence: 0.5 }} }} }}",
                image.display()
            );
            assert_gradient(&terms, &terms);
            if model.contains("clip-open") {
                composed(|| assert_gradient(&format!("composed {terms}"), &terms));
            }
        }
    }
}

#[test]
fn micro_batches_change_the_loss_by_rounding() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("waves.png");
    waves(&image, 0.4);
    for name in ["content", "style"] {
        let terms = format!("{{ {name}: {} }}", image.display());
        let evaluate = |memory| {
            let at = StepContext::new(2, 10);
            term(&terms, memory)
                .evaluate(&canvas(), at)
                .expect("a loss")
        };
        let (all, one) = (evaluate(1 << 30), evaluate(1));
        assert!((all.loss - one.loss).abs() < 1e-5 * all.loss, "{name}");
        let difference = (&all.grad - &one.grad).expect("a gradient");
        assert!(
            dot(&difference, &difference) < 1e-6 * dot(&all.grad, &all.grad),
            "{name}"
        );
        assert_eq!(all.cutouts, one.cutouts);
        assert!(evaluate(1 << 30).grad.to_string() == all.grad.to_string());
    }
}

#[test]
fn an_image_has_its_own_content_and_the_style_nearest_to_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    waves(&path("slow.png"), 0.2);
    waves(&path("fast.png"), 0.9);
    image::RgbImage::from_pixel(9, 9, image::Rgb([30, 90, 200]))
        .save(path("even.png"))
        .expect("a picture");
    let evaluate = |name: &str, of: &str, image: &str| {
        let image = picture::load_tensor(&path(image), &Device::Cpu).expect("a picture");
        let terms = format!(
            "{{ {name}: {{ image: {}, weight: 1 }} }}",
            path(of).display()
        );
        let output = term(&terms, 1 << 28)
            .evaluate(&image, StepContext::new(0, 10))
            .expect("a loss");
        let size = dot(&output.grad, &output.grad);
        assert!(output.loss.is_finite() && size.is_finite(), "{name} {of}");
        output.loss
    };
    assert_eq!(evaluate("content", "slow.png", "slow.png"), 0.0);
    assert_eq!(evaluate("content", "even.png", "even.png"), 0.0);
    assert!(evaluate("content", "slow.png", "fast.png") > 0.3);
    let own = evaluate("style", "fast.png", "fast.png");
    let other = evaluate("style", "fast.png", "slow.png");
    assert!(own < other, "{own} {other}");
    // an even image has a style as well: none
    let (own, other) = (
        evaluate("style", "even.png", "even.png"),
        evaluate("style", "even.png", "fast.png"),
    );
    assert!(own < other, "{own} {other}");
}

#[test]
fn content_and_style_may_be_an_image_or_a_map() {
    let dusk = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/images/dusk.png");
    let dusk = dusk.display();
    for name in ["content", "style"] {
        let short = parse(&format!("prompts: a\nterms: {{ {name}: {dusk} }}\n"));
        let long = parse(&format!(
            "prompts: a\nterms: {{ {name}: {{ image: {dusk} }} }}\n"
        ));
        assert_eq!(short, long);
        assert_ne!(short.terms, Terms::default());
        assert_eq!(parse(&long.to_yaml().expect("YAML")), long);
        let files = long.files().expect("files");
        let path = format!("terms.{name}.image");
        assert!(files.iter().any(|file| file.path == path), "{files:?}");
        let refused =
            refusal(&format!("prompts: a\nterms: {{ {name}: nowhere.png }}\n")).to_string();
        assert!(refused.contains("nowhere.png"), "{refused}");
        let refused = refusal(&format!(
            "prompts: a\nterms: {{ {name}: {{ weight: 1 }} }}\n"
        ))
        .to_string();
        assert!(refused.contains("image"), "{refused}");
    }
}

#[test]
fn a_layer_that_a_model_does_not_have_is_refused_by_name() {
    let dusk = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/images/dusk.png");
    for (model, layer, wanted) in [
        (
            "embedded",
            5,
            "`embedded/resnet` has no layer 5: its layers are 0 to 3, the stages of its convolutional network",
        ),
        (
            "embedded",
            -7,
            "`embedded` has no layer -7: its layers are 0 to 5, the blocks of its transformer",
        ),
    ] {
        let recipe = parse(&format!(
            "prompts: a\nterms: {{ style: {{ image: {}, model: {model}, layers: [{layer}] }} }}\n",
            dusk.display()
        ));
        let error = Session::new(&recipe, &Device::Cpu).err().expect("refused");
        let error = format!("{error:#}");
        assert!(
            error.contains("terms.style") && error.contains(wanted),
            "{error}"
        );
    }
}

/// Small, with a checkpoint at every step, and all that compares pictures.
const RECIPE_TEXT: &str = "\
prompts: [{ keyframes: [a red ball, a green leaf], until: 12 }, { text: a lake, source: a ball }]
size: [40, 32]
steps: 16
seed: 7
init: waves.png
cutouts: { count: 1 }
terms: { content: { image: waves.png, weight: 0.3 }, style: waves.png }
output: { checkpoint: 1 }
generator:
  - { kind: pyramid, steps: 5, size: [24, 24] }
  - { kind: pyramid, layers: 3 }
timeline:
  - { step: 8, terms: { style: { image: waves.png, weight: 2 } } }
  - { step: 11, restart: image }
";

#[test]
fn a_run_that_compares_pictures_goes_on_to_the_same_bytes() {
    let folder = folder(RECIPE_TEXT);
    let folder = folder.path();
    waves(&folder.join("waves.png"), 0.4);
    assert_done(&run(folder, &["render", "ball.yaml", "--out", "whole"]));
    for steps in [8, 13] {
        let out = format!("killed{steps}");
        let mut child = program(folder, &["render", "ball.yaml", "--out", &out])
            .spawn()
            .expect("the program");
        let killed = folder.join(&out).join("ball-001");
        wait_for("steps", || lines(&killed) >= steps);
        child.kill().expect("a render to kill");
        child.wait().expect("its end");
        // the run has its own copies
        fs::rename(folder.join("waves.png"), folder.join("gone.png")).expect("a move");
        assert_done(&run(folder, &["resume", &format!("{out}/ball-001")]));
        fs::rename(folder.join("gone.png"), folder.join("waves.png")).expect("a move");
        assert!(
            bytes(&killed.join(IMAGE)) == bytes(&folder.join("whole/ball-001").join(IMAGE)),
            "{steps}"
        );
    }
    // the recipe in its metadata paints it again
    assert_done(&run(
        folder,
        &["render", "whole/ball-001/image.png", "--out", "again"],
    ));
    let again = fs::read_dir(folder.join("again"))
        .expect("a folder")
        .flatten()
        .next()
        .expect("a run");
    assert!(bytes(&again.path().join(IMAGE)) == bytes(&folder.join("whole/ball-001").join(IMAGE)));
}

fn session(text: &str) -> Session {
    Session::new(&parse(text), &Device::Cpu).expect("a session")
}

fn with_prompts(prompts: Vec<Prompt>) -> Edit {
    Edit::with(|edit| edit.prompts = Some(prompts))
}

fn directional() -> Prompt {
    Prompt {
        source: Some("a ball".to_owned()),
        ..Prompt::new("a lake")
    }
}

#[test]
fn a_change_is_asked_of_the_picture_that_the_segment_started_from() {
    let text = "prompts: a red ball\nsize: 40x40\nsteps: 6\nseed: 2\ncutouts: { count: 1 }\n";
    let mut session = session(text);
    let before = session.tick().expect("a step").cutouts;
    let error = session
        .edit(with_prompts(vec![directional()]))
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("`a lake`") && error.contains("`init`"),
        "{error}"
    );
    assert_eq!(session.prompts()[0].label(), "a red ball");
    session
        .edit(Edit::with(|edit| edit.restart = Some(Restart::Image)))
        .expect("a restart");
    session
        .edit(with_prompts(vec![directional()]))
        .expect("an edit");
    let tick = session.tick().expect("a step");
    // both towers see both pictures
    assert_eq!((before, tick.cutouts), (2, 4));
    assert!(tick.loss.is_finite());
    // a restart that is taken back leaves the prompt its picture
    session
        .edit(Edit::with(|edit| edit.restart = Some(Restart::Undo)))
        .expect("an edit");
    assert!(session.tick().expect("a step").loss.is_finite());
}

#[test]
fn a_restart_that_is_taken_back_takes_its_picture_with_it() {
    let text = "prompts: a red ball\nsize: 40x40\nsteps: 6\ncutouts: { count: 1 }\n";
    let mut session = session(text);
    session.tick().expect("a step");
    let restart = |restart| Edit::with(|edit| edit.restart = Some(restart));
    session.edit(restart(Restart::Image)).expect("a restart");
    session.edit(restart(Restart::Undo)).expect("an edit");
    (session.edit(with_prompts(vec![directional()]))).expect_err("refused");
    session.tick().expect("a step");
    // a prompt that comes with the edit keeps it
    session.edit(restart(Restart::Image)).expect("a restart");
    let mut both = restart(Restart::Undo);
    both.prompts = Some(vec![directional()]);
    session.edit(both).expect("an edit");
    assert!(session.tick().expect("a step").loss.is_finite());
}

/// A picture that is still what it was has a loss of half the largest, and a gradient.
#[test]
fn a_picture_that_has_not_changed_yet_begins_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("waves.png");
    waves(&image, 0.4);
    let mut session = session(&format!(
        "prompts: {{ text: a lake, source: a ball }}\nsize: 40x40\nsteps: 4\ninit: {}\ncutouts: {{ count: 1 }}\ndistance: cosine\n\
         generator: {{ kind: pixels }}\n",
        image.display()
    ));
    let first = session.tick().expect("a step");
    let losses: Vec<f64> = (0..3)
        .map(|_| session.tick().expect("a step").loss)
        .collect();
    // 1 for each of the towers, of weight 1 and 0.5
    assert!((first.loss - 1.5).abs() < 0.1, "{}", first.loss);
    assert!(losses.iter().all(|loss| *loss < first.loss), "{losses:?}");
    let moved = (session.image().expect("a picture") - first.image).expect("a difference");
    assert!(dot(&moved, &moved) > 0.0);
}

#[test]
fn prompts_with_a_source_are_refused_where_they_ask_for_nothing() {
    let refused = |text: &str| refusal(text).to_string();
    let dusk = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/images/dusk.png");
    let init = format!("init: {}\n", dusk.display());
    let prompt = "prompts: { text: a lake, source: a ball }\n";
    assert!(refused(prompt).contains("`init`"));
    assert_eq!(
        parse(&format!("{prompt}{init}")).prompts[0]
            .source
            .as_deref(),
        Some("a ball")
    );
    for select in ["mix", "best", "worst"] {
        let message = refused(&format!("{prompt}{init}select: {select}\n"));
        assert!(message.contains("`select: all`"), "{message}");
    }
    let own = refused(&format!(
        "prompts: {{ text: a ball, source: a ball }}\n{init}"
    ));
    assert!(own.contains("its own") || own.contains("own text"), "{own}");
    // two texts that are one to the model
    let recipe = parse(&format!(
        "prompts: {{ text: A Ball, source: a  ball }}\n{init}"
    ));
    let error = Session::new(&recipe, &Device::Cpu)
        .err()
        .expect("refused")
        .to_string();
    assert!(error.contains("are the same"), "{error}");
}

#[test]
fn keyframes_begin_with_their_first_text_and_end_with_their_last() -> Result<()> {
    let rest = "size: 40x40\nsteps: 5\nseed: 2\ncutouts: { count: 1 }\n";
    let path = session(&format!(
        "prompts: {{ keyframes: [a red ball, a lake] }}\n{rest}"
    ));
    let first = session(&format!("prompts: a red ball\n{rest}"));
    let ticks = |mut session: Session, count: usize| -> Result<Vec<phantasia::Tick>> {
        (0..count).map(|_| session.tick()).collect()
    };
    let label = "a red ball > a lake";
    let (path, first) = (ticks(path, 5)?, ticks(first, 2)?);
    assert_eq!(path[0].loss, first[0].loss);
    assert_eq!(path[0].similarity[label], first[0].similarity["a red ball"]);
    assert_ne!(path[1].loss, first[1].loss);
    // the same picture, judged by the last text alone
    let mut recipe: Recipe = parse(&format!("prompts: a lake\n{rest}"));
    recipe.steps = 5;
    let at = StepContext::new(4, 5);
    let mut objective = phantasia::session::objective(&recipe, &Device::Cpu)?;
    let judged = objective.guide(&path[4].image, at)?;
    assert!((judged.similarity["a lake"] - path[4].similarity[label]).abs() < 1e-6);
    Ok(())
}

#[test]
fn texts_of_keyframes_and_sources_are_checked() {
    let recipe = parse(
        "prompts: [a, { keyframes: [a seed, { text: a sprout, at: 30% }, a tree], weight: 2, region: left }]\n",
    );
    let texts: Vec<_> = recipe.texts();
    let paths: Vec<_> = texts
        .iter()
        .map(|(path, text)| (path.as_str(), *text))
        .collect();
    assert_eq!(
        paths[1..],
        [
            ("prompts.1.keyframes.0.text", "a seed"),
            ("prompts.1.keyframes.1.text", "a sprout"),
            ("prompts.1.keyframes.2.text", "a tree"),
        ]
    );
    assert_eq!(recipe.prompts[1].label(), "a seed > a sprout > a tree");
    assert_eq!(parse(&recipe.to_yaml().expect("YAML")), recipe);
    let at = |step| {
        recipe.prompts[1]
            .text_at(StepContext::new(step, 101))
            .expect("a text")
    };
    assert_eq!([at(0), at(30), at(100)], ["a seed", "a sprout", "a tree"]);
}
