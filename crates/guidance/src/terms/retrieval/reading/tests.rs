use anyhow::Result;

use super::*;

/// Reads each text and returns, as strings, the names of its things (`colored` before those with a colour) and of its place, and whether the ground has a colour.
fn read(texts: &[&str]) -> Result<Vec<(String, String, bool)>> {
    let bank = Bank::embedded()?;
    let name = |entry: usize| bank.entries()[entry].name.clone();
    let read = texts.iter().map(|text| {
        let request = Request::read(text, &bank);
        let things = request.things.iter().map(|wanted| {
            let colored = if wanted.color.is_some() {
                "colored "
            } else {
                ""
            };
            format!("{colored}{}", name(wanted.entry))
        });
        let place = request.place.map(name).unwrap_or_default();
        let things: Vec<_> = things.collect();
        Ok((things.join(", "), place, request.ground.is_some()))
    });
    read.collect()
}

fn check(expected: &[(&str, &str, &str, bool)]) -> Result<()> {
    let texts: Vec<_> = expected.iter().map(|(text, ..)| *text).collect();
    for ((text, things, place, ground), found) in expected.iter().zip(read(&texts)?) {
        let expected = (things.to_string(), place.to_string(), *ground);
        assert_eq!(found, expected, "{text}");
    }
    Ok(())
}

#[test]
fn names_colors_and_numbers_are_read() -> Result<()> {
    check(&[
        ("a cat", "cat", "", false),
        ("A Cat!", "cat", "", false),
        ("a blue butterfly", "colored butterfly", "", false),
        (
            "three red cats",
            "colored cat, colored cat, colored cat",
            "",
            false,
        ),
        ("nine cats and two dogs", "cat, dog, dog", "", false),
        (
            "a red car beside a blue house",
            "colored car, colored house",
            "",
            false,
        ),
        ("an orange", "orange", "", false),
        ("an orange fish", "colored fish", "", false),
        ("an orange bed", "colored bed", "", false),
        ("an orange and white cat", "colored cat", "", false),
        ("an orange and a lemon", "orange, lemon", "", false),
        ("an orange typewriter", "", "", false),
        (
            "an orange building",
            "colored apartment building",
            "",
            false,
        ),
        ("an orange slice", "orange", "", false),
        ("an orange hanging from a tree", "orange, tree", "", false),
        ("oranges and lemons", "orange, lemon", "", false),
        ("a red and white fish", "colored fish", "", false),
        (
            "a cat, a dog, a fish, a tree and a car",
            "cat, dog, fish, tree",
            "",
            false,
        ),
    ])
}

#[test]
fn which_of_two_things_lie_above_the_others() -> Result<()> {
    let bank = Bank::embedded()?;
    let read = |text: &str| Request::read(text, &bank);
    let first_on = |first: usize| Stack {
        first,
        upper: Upper::First,
    };
    let first_under = |first: usize| Stack {
        first,
        upper: Upper::Second,
    };
    for (text, expected) in [
        ("a lamp on a table", Some(first_on(1))),
        ("a cat on top of a piano", Some(first_on(1))),
        ("a bird above the house", Some(first_on(1))),
        ("a dog under an umbrella", Some(first_under(1))),
        ("two cats on a piano", Some(first_on(2))),
        ("two owls under an umbrella", Some(first_under(2))),
        ("a pair of owls on a house", Some(first_on(2))),
        ("a cat under three umbrellas", Some(first_under(1))),
        ("a horse under a tree in the desert", Some(first_under(1))),
        // there is no room for the second
        ("four owls under an umbrella", None),
        ("two cats", None),
        ("a cat and a dog", None),
        ("a cat on the left and a dog", None),
        ("a cat beside a dog", None),
        ("a cat on a blue background", None),
        ("two cats without a hat on a blue background", None),
        ("a cat on a chair and a dog", None),
    ] {
        assert_eq!(read(text).stack, expected, "{text}");
    }
    let lamp = read("a lamp on a table");
    let mut both = read("a cat");
    both.extend(&lamp);
    assert_eq!(both.stack, None);
    let mut both = Request::default();
    both.extend(&lamp);
    assert_eq!(both.stack, Some(first_on(1)));
    Ok(())
}

#[test]
fn the_ground_is_a_scene_or_a_color() -> Result<()> {
    check(&[
        ("sunset over the sea", "", "sunset over the sea", false),
        ("a red car on a green field", "colored car", "", true),
        ("a cat on a blue background", "cat", "", true),
        ("a horse in the desert", "horse", "desert", false),
        // a surface with a colour is a ground, without one it is drawn
        ("a blue vase on a red carpet", "colored amphora", "", true),
        (
            "a blue vase on a carpet",
            "colored amphora, carpet",
            "",
            false,
        ),
        (
            "a mouse under a red carpet",
            "mouse, colored carpet",
            "",
            false,
        ),
        (
            "a mouse and a red carpet",
            "mouse, colored carpet",
            "",
            false,
        ),
        // a small one is drawn
        (
            "an apple on a blue plate",
            "apple, colored plate",
            "",
            false,
        ),
        // without a drawing the colour is CLIP's
        ("joy on a blue background", "", "", false),
    ])
}

#[test]
fn words_that_name_no_drawing_are_silent() -> Result<()> {
    check(&[
        ("", "", "", false),
        ("portrait", "", "", false),
        ("a storm", "", "", false),
        ("fog", "", "", false),
        ("a watercolor painting of a cat", "cat", "", false),
        ("a cat in the style of an old car", "cat", "", false),
        ("a house without a tree", "house", "", false),
        ("a cat not wearing a hat", "cat", "", false),
        ("an owl without glasses or a hat", "owl", "", false),
        ("no cats or dogs", "", "", false),
        ("neither cat nor dog", "", "", false),
        ("an apple instead of a pear", "apple", "", false),
        ("a cat or a dog", "cat, dog", "", false),
        ("the categorical imperative", "", "", false),
        ("joy", "", "", false),
        ("!?… 🦄 ´`' -- ' s", "", "", false),
        (&format!("{}a cat", "so ".repeat(100)), "", "", false),
    ])
}

#[test]
fn words_for_other_things_find_what_looks_like_them() -> Result<()> {
    check(&[
        (
            "a yellow sweater on a purple background",
            "colored shirt",
            "",
            true,
        ),
        ("two sweaters", "shirt, shirt", "", false),
        ("a pup", "dog", "", false),
        // words for what things are made of name no thing
        ("a wall of brick", "", "", false),
        // only where they are not part of a longer name
        ("a sweater factory", "factory", "", false),
    ])
}

/// Names are not found in words of similar letters.
#[test]
fn words_that_are_spelled_alike_name_no_drawing() -> Result<()> {
    let texts = [
        "the streets of Cairo",
        "my uncle",
        "the law",
        "here",
        "a marina",
        "Warsaw",
        "dread",
    ];
    check(&texts.map(|text| (text, "", "", false)))
}
