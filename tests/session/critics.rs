//! What single entries of `clip` say for themselves.

use std::collections::BTreeMap;

use candle_core::Device;
use phantasia::recipe::{Border, Schedule, cutouts};
use phantasia::session::{Session, SessionOptions};

use crate::common::{fixture, parse};

/// The losses of the first step, by name, of a recipe of two tiny CLIPs with these keys beside the models.
fn losses(first: &str, second: &str) -> BTreeMap<String, f64> {
    let (a, b) = (fixture("clip-hf-quick"), fixture("clip-open-vit"));
    let recipe = parse(&format!(
        "prompts: a red apple\nsize: 40x40\nseed: 4\ncutouts: {{ count: 3 }}\nclip:\n  - {{ model: {}{first} }}\n  - {{ model: {}{second} }}\n",
        a.display(),
        b.display(),
    ));
    let mut session = Session::new(&recipe, &Device::Cpu).expect("a session");
    session.tick().expect("a step").terms
}

#[test]
fn an_entrys_cutouts_change_what_it_sees_and_nothing_that_others_see() {
    let name = |of: &str| format!("clip/{}", fixture(of).display());
    let (first, second) = (name("clip-hf-quick"), name("clip-open-vit"));
    let plain = losses("", "");
    assert!(
        plain.contains_key(&first) && plain.contains_key(&second),
        "{plain:?}"
    );
    for changes in [
        "count: 7",
        "power: 0.2",
        "augment: []",
        "max: 0.5",
        "sampler: stratified",
        "sampler: full",
    ] {
        let changes = format!(", cutouts: {{ {changes} }}");
        let changed = losses(&changes, "");
        assert_ne!(changed[&first], plain[&first], "{changes}");
        assert_eq!(changed[&second], plain[&second], "{changes}");
        let changed = losses("", &changes);
        assert_eq!(changed[&first], plain[&first], "{changes}");
        assert_ne!(changed[&second], plain[&second], "{changes}");
    }
    // what is said again is the same
    assert_eq!(losses(", cutouts: { count: 3 }", ""), plain);
}

#[test]
fn what_an_entry_does_not_say_is_the_recipes() {
    let recipe = parse(
        "prompts: a\ncutouts: { count: 5, border: zero, augment: [flip] }\n\
         clip: [{ cutouts: { count: 2, border: wrap } }, embedded]\n",
    );
    let changes = recipe.clip[0].cutouts.as_ref();
    let own = recipe.cutouts.with(changes);
    assert_eq!(own.count, Some(Schedule::from(2.0)));
    assert_eq!(
        (own.border, &own.augment),
        (Border::Wrap, &recipe.cutouts.augment)
    );
    assert_eq!(
        recipe.cutouts.with(recipe.clip[1].cutouts.as_ref()),
        recipe.cutouts
    );
    assert_eq!(parse(&recipe.to_yaml().expect("YAML")), recipe);
    let mut changed = recipe.clone();
    changed.set("clip.1.cutouts.power=2").expect("set");
    let power = cutouts::Changes {
        power: Some(Some(Schedule::from(2.0))),
        ..cutouts::Changes::default()
    };
    assert_eq!(changed.clip[1].cutouts, Some(power));
}

#[test]
fn aesthetic_may_be_a_weight_or_a_map() {
    let short = parse("prompts: a\nterms: { aesthetic: \"1 - t\" }\n");
    let long = parse("prompts: a\nterms: { aesthetic: { weight: \"1 - t\" } }\n");
    assert_eq!(short, long);
    assert_eq!(parse(&long.to_yaml().expect("YAML")), long);
    let aesthetic = long.terms.aesthetic.expect("the term");
    assert_eq!(aesthetic.model, "laion-aesthetic");
    assert_eq!(aesthetic.clip, "openai/clip-vit-large-patch14");
    let mut set = parse("prompts: a\nterms: { aesthetic: 2 }\n");
    set.set("terms.aesthetic.clip=embedded").expect("set");
    let aesthetic = set.terms.aesthetic.expect("the term");
    assert_eq!(
        (aesthetic.weight, aesthetic.clip.as_str()),
        (Schedule::from(2.0), "embedded")
    );
    assert_eq!(
        parse("prompts: a\nterms: { aesthetic: null }\n")
            .terms
            .aesthetic,
        None
    );
}

#[test]
fn the_memory_for_cutouts_changes_the_picture_by_a_level_at_most() {
    let recipe =
        parse("prompts: a red apple\nsize: 64x64\nsteps: 12\nseed: 4\ncutouts: { count: 6 }\n");
    let image = |memory| {
        let options = SessionOptions {
            memory,
            ..SessionOptions::default()
        };
        let mut session =
            Session::with_options(&recipe, &Device::Cpu, &options).expect("a session");
        while !session.tick().expect("a step").finished {}
        let image = session.image().expect("a picture");
        phantasia::picture::from_tensor(&image).expect("a picture")
    };
    let (all, one) = (image(1 << 30), image(1));
    let most = (all.iter().zip(one.iter()))
        .map(|(a, b)| a.abs_diff(*b))
        .max();
    assert!(most <= Some(1), "{most:?}");
    // the budgets were not the same thing by another name
    assert_eq!(image(1 << 30), all);
}
