//! Prompts that are about a part of the picture.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use image::RgbImage;
use phantasia::objective::Guidance;
use phantasia::picture;
use phantasia::recipe::{Edit, Recipe};
use phantasia::session::{Session, objective};
use phantasia_core::StepContext;

use crate::common::{fixture, parse};

/// A recipe of two tiny CLIPs with these prompts, and more keys.
fn tiny(prompts: &str, rest: &str) -> Recipe {
    let (a, b) = (fixture("clip-hf-quick"), fixture("clip-open-vit"));
    parse(&format!(
        "prompts: {prompts}\nsize: 64x48\nsteps: 6\nseed: 4\nclip: [{}, {}]\n{rest}\n",
        a.display(),
        b.display(),
    ))
}

/// A picture of waves.
fn waves([width, height]: [usize; 2]) -> Result<Tensor> {
    let image = Tensor::arange(0f32, (3 * height * width) as f32, &Device::Cpu)?;
    let image = image.affine(0.37, 0.0)?.sin()?.affine(0.3, 0.5)?;
    Ok(image.reshape((1, 3, height, width))?)
}

fn guidance(recipe: &Recipe, image: &Tensor) -> Result<Guidance> {
    objective(recipe, &Device::Cpu)?.guide(image, StepContext::new(2, 6))
}

fn largest(x: &Tensor) -> Result<f32> {
    Ok(x.abs()?.max_all()?.to_scalar()?)
}

/// The picture at the end.
fn painted(recipe: &Recipe) -> Result<RgbImage> {
    let mut session = Session::new(recipe, &Device::Cpu)?;
    while !session.tick()?.finished {}
    Ok(picture::from_tensor(&session.image()?)?)
}

/// The mean of a channel over columns.
fn mean(image: &RgbImage, channel: usize, columns: std::ops::Range<u32>) -> f64 {
    let (sum, count) = (image.enumerate_pixels())
        .filter(|(x, _, _)| columns.contains(x))
        .fold((0.0, 0.0), |(sum, count), (_, _, pixel)| {
            (sum + f64::from(pixel[channel]), count + 1.0)
        });
    sum / count
}

#[test]
fn red_on_the_left_and_blue_on_the_right_show_so() -> Result<()> {
    let recipe = parse(
        "prompts: [{ text: something red, region: left }, { text: something blue, region: right }]\nsize: 96x96\nsteps: 40\nseed: 5\n",
    );
    let image = painted(&recipe)?;
    let ahead = |channel| mean(&image, channel, 0..48) - mean(&image, channel, 48..96);
    let (red, blue) = (ahead(0), -ahead(2));
    println!("left is redder by {red:.0} levels, right bluer by {blue:.0}");
    assert!(red > 30.0 && blue > 10.0, "{red} {blue}");
    Ok(())
}

#[test]
fn outside_of_its_region_a_prompt_changes_nothing() -> Result<()> {
    let image = waves([64, 48])?;
    // the mask of the left half ends at 32 + 4.8
    let outside = |grad: &Tensor| grad.narrow(3, 37, 27);
    let right = "{ text: a lake, region: [0.6, 0, 0.4, 1] }";
    for (others, regional) in [
        ("a field", "{ text: a barn, region: left }"),
        ("a field", "{ text: a barn, region: left, weight: -0.5 }"),
        (right, "{ text: a barn, region: left, stop: 0.1 }"),
        (
            "a field, a tree",
            "{ text: a barn, region: [0, 0, 0.5, 0.9] }",
        ),
    ] {
        for select in ["all", "mix", "best", "worst"] {
            for sampler in ["stratified", "random", "full"] {
                let rest = format!(
                    "select: {select}\ncutouts: {{ sampler: {sampler}, count: 5, coherence: 1 }}"
                );
                let without = guidance(&tiny(&format!("[{others}]"), &rest), &image)?;
                let with = guidance(&tiny(&format!("[{others}, {regional}]"), &rest), &image)?;
                let difference = (&with.grad - &without.grad)?;
                assert_eq!(
                    largest(&outside(&difference)?)?,
                    0.0,
                    "{regional} {select} {sampler}"
                );
                assert!(largest(&difference)? > 0.0, "{regional} {select} {sampler}");
                assert!(with.cutouts > without.cutouts);
                for (label, cosine) in without.similarity {
                    assert_eq!(with.similarity[&label], cosine, "{label}");
                }
                assert!(with.similarity.contains_key("a barn"));
            }
        }
    }
    Ok(())
}

#[test]
fn the_embedded_memory_keeps_to_the_region_as_well() -> Result<()> {
    let image = waves([48, 64])?;
    let recipe = |prompts: &str| parse(&format!("prompts: {prompts}\nsize: 48x64\nseed: 2\n"));
    let without = guidance(&recipe("[a field]"), &image)?.grad;
    let with = guidance(
        &recipe("[a field, { text: a flower, region: top }]"),
        &image,
    )?
    .grad;
    let difference = (with - without)?;
    assert_eq!(largest(&difference.narrow(2, 37, 27)?)?, 0.0);
    assert!(largest(&difference)? > 0.0);
    Ok(())
}

/// Where the mask is 1, the gradient is that of the loss.
#[test]
fn the_gradient_inside_matches_finite_differences() -> Result<()> {
    let clip = fixture("clip-hf-quick");
    for select in ["all", "mix"] {
        let recipe = parse(&format!(
            "prompts: [{{ text: a barn, region: left }}, {{ text: grey, region: left, weight: -0.3 }}]\nsize: 64x48\nseed: 1\n\
             clip: {}\nselect: {select}\ncutouts: {{ sampler: stratified, count: 9, coherence: 1, augment: [flip, affine] }}\n",
            clip.display()
        ));
        let image = waves([64, 48])?;
        let inside = guidance(&recipe, &image)?.grad.narrow(3, 0, 27)?;
        let length = inside.sqr()?.sum_all()?.sqrt()?.to_scalar::<f32>()?;
        let along = (inside / f64::from(length))?.pad_with_zeros(3, 0, 37)?;
        let loss =
            |h: f64| -> Result<f64> { Ok(guidance(&recipe, &(&image + (&along * h)?)?)?.loss) };
        let step = 0.05;
        let slope = (loss(step)? - loss(-step)?) / (2.0 * step);
        let error = (slope - f64::from(length)).abs() / f64::from(length);
        assert!(error < 1e-2, "{select}: {slope} {length}");
    }
    Ok(())
}

#[test]
fn a_small_region_has_fewer_cutouts_but_not_too_few() -> Result<()> {
    let image = waves([64, 48])?;
    let clip = fixture("clip-hf-quick");
    let cutouts = |prompts: &str, count: usize| -> Result<usize> {
        let clip = clip.display();
        let text = format!("prompts: [{prompts}]\nclip: {clip}\ncutouts: {{ count: {count} }}\n");
        Ok(guidance(&parse(&text), &image)?.cutouts)
    };
    let corner = "{ text: a barn, region: [0, 0, 0.25, 0.25] }";
    assert_eq!(cutouts("a field", 16)?, 16);
    assert_eq!(cutouts(corner, 16)?, 4);
    assert_eq!(cutouts(corner, 3)?, 3);
    let left = cutouts("{ text: a barn, region: left }", 16)?;
    assert!((9..=11).contains(&left), "{left}");
    // prompts about the same region share their cutouts
    let same = "{ text: a barn, region: left }, { text: a cow, region: left }";
    assert_eq!(cutouts(same, 16)?, left);
    assert_eq!(cutouts(&format!("a field, {corner}"), 16)?, 16 + 4);
    // a prompt that has not begun costs nothing
    let later = "a field, { text: a barn, region: left, from: 50% }";
    assert_eq!(cutouts(later, 16)?, 16);
    Ok(())
}

#[test]
fn a_region_neither_gains_nor_loses_strength_by_its_area() -> Result<()> {
    let image = waves([64, 48])?;
    let clip = fixture("clip-hf-quick");
    let strength = |region: &str| -> Result<f32> {
        let text = format!(
            "prompts: {{ text: a barn{region} }}\nclip: {}\ncutouts: {{ count: 64, sampler: stratified, augment: [] }}\n",
            clip.display()
        );
        let grad = guidance(&parse(&text), &image)?.grad;
        let inside = grad.narrow(2, 4, 12)?.narrow(3, 4, 16)?;
        Ok(inside.sqr()?.mean_all()?.sqrt()?.to_scalar()?)
    };
    let whole = strength("")?;
    for region in ["left", "top", "[0, 0, 0.4, 0.4]"] {
        let own = strength(&format!(", region: {region}"))?;
        assert!(
            (0.4..2.5).contains(&(own / whole)),
            "{region}: {own} {whole}"
        );
    }
    Ok(())
}

#[test]
fn a_region_may_be_an_image() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("lake.png");
    // the right third of a picture of the same aspect
    let lake = RgbImage::from_fn(12, 9, |x, _| image::Rgb([if x < 8 { 0 } else { 255 }; 3]));
    lake.save(&path)?;
    let image = waves([64, 48])?;
    let prompt = format!("[{{ text: a lake, region: {} }}]", path.display());
    let grad = guidance(&tiny(&prompt, ""), &image)?.grad;
    // resized, its edge takes some pixels of an enlarged image
    assert_eq!(largest(&grad.narrow(3, 0, 32)?)?, 0.0);
    assert!(largest(&grad.narrow(3, 50, 14)?)? > 0.0);
    RgbImage::new(12, 9).save(&path)?;
    let refused = objective(&tiny(&prompt, ""), &Device::Cpu)
        .err()
        .expect("refused");
    assert!(
        format!("{refused:#}").contains("lake.png` is black or transparent everywhere"),
        "{refused:#}"
    );
    Ok(())
}

#[test]
fn edits_and_stages_of_other_sizes_take_regions() -> Result<()> {
    let edit = "{ step: 3, fade: 1, prompts: [a field, { text: a barn, region: bottom }] }";
    let stages =
        "generator: [{ kind: pixels, steps: 5, size: 32x24 }, { kind: pyramid, steps: 3 }]";
    let prompts = "[{ text: a lake, region: left }, { text: a tree, region: [0.5, 0, 0.5, 0.5], until: 90% }]";
    let planned = painted(&tiny(prompts, &format!("{stages}\ntimeline: [{edit}]")))?;
    assert_eq!(planned.dimensions(), (64, 48));
    let mut session = Session::new(&tiny(prompts, stages), &Device::Cpu)?;
    let Edit { prompts, fade, .. } = tiny("a", &format!("timeline: [{edit}]")).timeline.remove(0);
    while !session.is_finished() {
        if session.step() == 3 && session.timeline().is_empty() {
            let mut edit = Edit::at(3);
            (edit.prompts, edit.fade) = (prompts.clone(), fade);
            session.edit(edit)?;
        }
        session.tick()?;
    }
    let live = picture::from_tensor(&session.image()?)?;
    assert!(live == planned);
    Ok(())
}

#[test]
fn the_view_of_the_cutouts_shows_those_of_every_region() -> Result<()> {
    let prompts = "[a field, { text: a barn, region: left }, { text: a lake, region: right }]";
    let mut session = Session::new(&tiny(prompts, "cutouts: { count: 6 }"), &Device::Cpu)?;
    let views = session.cutouts()?.expect("cutouts");
    assert_eq!(views.dims()[..2], [6 + 4 + 4, 3]);
    assert_eq!(views.dtype(), DType::F32);
    Ok(())
}
