//! The retrieval prior as a term: its gradient, what the seed decides, edits, regions, and when it is on.

use candle_core::{Device, Tensor};
use phantasia_core::{Fade, NamedRegion, Prompt, PromptSchedule, Region, StepContext};

use super::*;
use crate::context::Guides;
use crate::cutouts;
use clip::Library;

const AT: StepContext = StepContext {
    step: 0,
    steps: 100,
    clock: 0,
};

fn guides(prompts: &[Prompt]) -> Guides {
    let prompts = prompts
        .iter()
        .map(|prompt| (prompt.clone(), PromptSchedule::of(prompt)));
    Guides {
        prompts: prompts.collect(),
        is_embedded: true,
    }
}

fn build(config: &Config, seed: u64, guides: Guides) -> Result<Option<Box<dyn Term>>> {
    let library = Library::default();
    let mut context = TermContext::new(
        cutouts::Config::default(),
        seed,
        1 << 20,
        library,
        &Device::Cpu,
    );
    context.guides = guides;
    config.build(&mut context)
}

#[test]
fn what_has_no_drawing_is_told_once() -> Result<()> {
    let library = Library::default();
    let config = cutouts::Config::default();
    let mut context = TermContext::new(config, 1, 1 << 20, library, &Device::Cpu);
    context.guides = guides(&[Prompt::new("a cat"), Prompt::new("zxqv")]);
    for _ in 0..2 {
        Config::default().build(&mut context)?;
    }
    let own = "no drawing for \"zxqv\": CLIP alone paints it";
    assert_eq!(context.notes, [own, "drawings retrieved: cat"]);
    Ok(())
}

#[test]
fn words_of_other_scripts_retrieve_nothing() -> Result<()> {
    for text in ["猫", "a 猫", "кот", "γάτα", "بيت", "एक घर", "소"] {
        let term = build(&Config::default(), 1, guides(&[Prompt::new(text)]))?;
        assert!(term.is_none(), "{text}");
    }
    let term = build(
        &Config::default(),
        1,
        guides(&[Prompt::new("猫 and a dog")]),
    )?;
    assert!(term.is_some());
    Ok(())
}

fn term(prompt: &str, seed: u64) -> Result<Box<dyn Term>> {
    let term = build(&Config::default(), seed, guides(&[Prompt::new(prompt)]))?;
    Ok(term.expect("a drawing"))
}

fn grey(width: usize, height: usize) -> Result<Tensor> {
    Ok(Tensor::full(0.5f32, (1, 3, height, width), &Device::Cpu)?)
}

/// The gradient as rows of pixels, the largest of a pixel's channels in absolute value.
fn pull(term: &mut dyn Term, image: &Tensor, at: StepContext) -> Result<Vec<Vec<f32>>> {
    let grad = term.evaluate(image, at)?.grad.abs()?.max(1)?.squeeze(0)?;
    Ok(grad.to_vec2()?)
}

#[test]
fn the_gradient_is_that_of_finite_differences() -> Result<()> {
    for (width, height) in [(24, 24), (70, 56)] {
        let mut term = term("a red cat on a blue background", 3)?;
        let values: Vec<f32> = (0..3 * width * height)
            .map(|i| (i as f32 * 0.7).sin() * 0.3 + 0.5)
            .collect();
        let image =
            |values: &[f32]| Tensor::from_slice(values, (1, 3, height, width), &Device::Cpu);
        let grad = term
            .evaluate(&image(&values)?, AT)?
            .grad
            .flatten_all()?
            .to_vec1::<f32>()?;
        for index in (0..values.len()).step_by(values.len() / 20) {
            let mut loss = |step: f32| {
                let mut moved = values.clone();
                moved[index] += step;
                term.loss(&image(&moved)?, AT)
            };
            let slope = (loss(0.05)? - loss(-0.05)?) / 0.1;
            let own = f64::from(grad[index]);
            assert!(
                (slope - own).abs() < 1e-5 + 0.01 * own.abs(),
                "{index}: {slope} {own}"
            );
        }
    }
    Ok(())
}

#[test]
fn another_seed_is_another_drawing_and_the_same_seed_the_same() -> Result<()> {
    let image = grey(48, 48)?;
    let grads = [1, 1, 2, 3].map(|seed| {
        let output = term("a cat", seed)?.evaluate(&image, AT)?;
        Ok::<_, anyhow::Error>(output.grad.flatten_all()?.to_vec1::<f32>()?)
    });
    let [a, same, b, c] = grads.map(|grad| grad.expect("a gradient"));
    assert_eq!(a, same);
    assert!(a != b && b != c && a != c);
    Ok(())
}

/// Drawings are placed in the picture, whatever its shape.
#[test]
fn wide_and_high_pictures_are_pulled_everywhere() -> Result<()> {
    for (width, height) in [(192, 64), (64, 192), (7, 5), (1, 1)] {
        let mut term = term("a cat and a dog", 5)?;
        let rows = pull(&mut *term, &grey(width, height)?, AT)?;
        for (edge, name) in [(0, "first"), (width - 1, "last")] {
            assert!(
                rows.iter().any(|row| row[edge] > 0.0),
                "{name} column of {width}x{height}"
            );
        }
        assert!(rows.iter().flatten().all(|value| value.is_finite()));
    }
    Ok(())
}

#[test]
fn what_is_drawn_is_pulled_more_than_its_ground_and_less_later() -> Result<()> {
    let mut cat = term("a cat", 1)?;
    let image = grey(64, 64)?;
    let total = |rows: Vec<Vec<f32>>| rows.iter().flatten().sum::<f32>();
    let early = total(pull(&mut *cat, &image, AT)?);
    let late = StepContext {
        step: 90,
        clock: 90,
        ..AT
    };
    let late = total(pull(&mut *cat, &image, late)?);
    assert!(late > 0.0 && early > 2.5 * late, "{early} {late}");
    Ok(())
}

#[test]
fn an_edit_lets_the_old_drawing_go_and_begins_anew() -> Result<()> {
    let fade = Fade {
        start: 60,
        steps: 4,
    };
    let [mut old, mut new] = [Prompt::new("a cat"), Prompt::new("a rocket")]
        .map(|prompt| (PromptSchedule::of(&prompt), prompt));
    old.0.fade_out(fade);
    new.0.fade_in(fade);
    let edited = Guides {
        prompts: [old, new]
            .map(|(schedule, prompt)| (prompt, schedule))
            .to_vec(),
        is_embedded: true,
    };
    let mut edited = build(&Config::default(), 1, edited)?.expect("drawings");
    let image = grey(64, 64)?;
    let at = |step| StepContext {
        step,
        clock: step,
        ..AT
    };
    let grad = |term: &mut dyn Term, step| -> Result<Vec<f32>> {
        Ok(term
            .evaluate(&image, at(step))?
            .grad
            .flatten_all()?
            .to_vec1()?)
    };
    // once the edit has faded, the rocket alone is pulled to, as at the start of a render of it
    let after = grad(&mut *edited, 64)?;
    let mut rocket = term("a rocket", 1)?;
    let alone = grad(&mut *rocket, 0)?;
    let cosine =
        |a: &[f32], b: &[f32]| clip::dot(a, b) / (clip::dot(a, a) * clip::dot(b, b)).sqrt();
    assert!(cosine(&after, &alone) > 0.9999);
    let length = |a: &[f32]| clip::dot(a, a).sqrt();
    assert!(length(&after) > 0.8 * length(&alone));
    // before the render reaches the edit's step the term is built with, the cat fades
    let during = grad(&mut *edited, 61)?;
    assert!(cosine(&during, &alone) < 0.9999);
    Ok(())
}

#[test]
fn a_region_confines_its_drawing() -> Result<()> {
    let mut prompt = Prompt::new("a cat");
    prompt.region = Some(Region::Named(NamedRegion::Left));
    let mut term = build(&Config::default(), 1, guides(&[prompt]))?.expect("a drawing");
    let rows = pull(&mut *term, &grey(96, 48)?, AT)?;
    for row in rows {
        assert!(row[60..].iter().all(|value| *value == 0.0), "{row:?}");
    }
    Ok(())
}

#[test]
fn keyframes_pull_to_the_drawing_of_the_present_text_alone() -> Result<()> {
    let mut prompt = Prompt::new("a cat");
    prompt.text = None;
    prompt.keyframes = Some(vec!["joy".into(), "a cat".into(), "a rocket".into()]);
    let mut term = build(&Config::default(), 1, guides(&[prompt]))?.expect("drawings");
    let image = grey(64, 64)?;
    // the first text names no drawing
    assert_eq!(term.loss(&image, AT)?, 0.0);
    let at = |step| StepContext {
        step,
        clock: step,
        ..AT
    };
    let (cat, rocket) = (term.loss(&image, at(49))?, term.loss(&image, at(99))?);
    assert!(cat > 0.0 && rocket > 0.0 && cat != rocket);
    Ok(())
}

#[test]
fn prompts_of_one_time_share_the_picture() -> Result<()> {
    let both = guides(&["a cat", "a rocket"].map(Prompt::new));
    let together = build(&Config::default(), 1, both)?.expect("drawings");
    let one = term("a cat, a rocket", 1)?;
    let image = grey(64, 64)?;
    let grad = |mut term: Box<dyn Term>| -> Result<Vec<f32>> {
        Ok(term.evaluate(&image, AT)?.grad.flatten_all()?.to_vec1()?)
    };
    assert_eq!(grad(together)?, grad(one)?);
    Ok(())
}

#[test]
fn it_is_on_beside_the_embedded_clip_alone_and_silent_without_drawings() -> Result<()> {
    let is_on = |config: Option<Config>, prompt: &str, is_embedded| -> Result<bool> {
        let mut context = TermContext::default();
        context.guides = guides(&[Prompt::new(prompt)]);
        context.guides.is_embedded = is_embedded;
        Ok(config.map(Box::new).build(&mut context)?.is_some())
    };
    assert!(is_on(None, "a cat", true)?);
    assert!(!is_on(None, "a cat", false)?);
    assert!(is_on(Some(Config::default()), "a cat", false)?);
    assert!(!is_on(Some(Config::weighted(0.0.into())), "a cat", true)?);
    assert!(!is_on(None, "fog", true)?);
    let away = Prompt {
        weight: (-0.5).into(),
        ..Prompt::new("a cat")
    };
    assert!(build(&Config::default(), 1, guides(&[away]))?.is_none());
    Ok(())
}
