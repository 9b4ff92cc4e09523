//! The prompts of a comparison, and the recipes with one of them in their place.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use unicode_normalization::UnicodeNormalization;

use super::super::text_file;
pub use crate::recipe::PLACE;
use crate::recipe::Recipe;
use crate::recipe::wildcard::has_wildcards;

/// The prompts in a file, see [`parse_prompts`]. Its encoding is as of a file of labels: UTF-8, or UTF-16 with a byte order mark.
///
/// # Errors
/// When the file cannot be read, is in another encoding, or its prompts cannot be used.
pub fn read_prompts(path: &Path) -> Result<Vec<String>> {
    let text = text_file::read(path, "the prompts")?;
    parse_prompts(&text).with_context(|| format!("in {}", path.display()))
}

/// Prompts from a text, one a line. Empty lines and those that begin with `#` are left out.
///
/// # Errors
/// When there is none, one comes twice, ends in a weight, or contains [`PLACE`].
pub fn parse_prompts(text: &str) -> Result<Vec<String>> {
    let mut prompts: Vec<String> = vec![];
    let mut known = HashSet::new();
    for (number, prompt) in text_file::lines(text) {
        let weight = prompt.rsplit_once("::").map(|(_, weight)| weight.trim());
        if weight.is_some_and(|weight| weight.parse::<f64>().is_ok()) {
            bail!(
                "line {number}, \"{prompt}\", ends in a weight, and these prompts have none: weights belong in the recipes"
            );
        }
        if prompt.contains(PLACE) {
            bail!(
                "line {number}, \"{prompt}\", contains `{PLACE}`, whose place a prompt takes: it belongs in the recipes"
            );
        }
        if has_wildcards(prompt) {
            bail!(
                "line {number}, \"{prompt}\", has a wildcard, and a comparison paints every prompt: write a line for each alternative"
            );
        }
        if !known.insert(prompt.nfc().collect::<String>()) {
            bail!("the prompt \"{prompt}\" comes twice");
        }
        prompts.push(prompt.to_owned());
    }
    if prompts.is_empty() {
        bail!("there is no prompt: write one on each line");
    }
    Ok(prompts)
}

/// Why a battery's prompts cannot take a place in a recipe, as the rest of a sentence; none where they can.
pub(super) fn obstacle(recipe: &Recipe) -> Option<String> {
    if has_place(recipe) {
        return None;
    }
    if let Some(path) = later_prompts(recipe) {
        return Some(format!(
            "its `{path}` would replace the battery's prompt: write `{PLACE}` there where the prompt belongs"
        ));
    }
    if main_prompt(recipe).is_none() {
        return Some(format!(
            "it has no text of positive weight whose place a prompt could take: write `{PLACE}` where it belongs"
        ));
    }
    None
}

/// Whether a text of the recipe says where a battery's prompt belongs.
pub(super) fn has_place(recipe: &Recipe) -> bool {
    recipe.texts().iter().any(|(_, text)| text.contains(PLACE))
}

/// The text that a recipe's pictures are compared with where there is no battery: its first of positive weight.
pub(crate) fn main_text(recipe: &Recipe) -> Option<&str> {
    main_prompt(recipe).and_then(|index| recipe.prompts[index].text.as_deref())
}

/// The recipe with a battery's prompt in its place.
pub(super) fn with_prompt(recipe: &Recipe, prompt: &str) -> Recipe {
    let mut painted = recipe.clone();
    if !has_place(recipe) {
        if let Some(index) = main_prompt(recipe) {
            painted.prompts[index].text = Some(prompt.to_owned());
        }
        return painted;
    }
    painted.for_each_text(|text| *text = text.replace(PLACE, prompt));
    painted
}

/// Which of the recipe's prompts is its first text of positive weight.
fn main_prompt(recipe: &Recipe) -> Option<usize> {
    (recipe.prompts.iter())
        .position(|prompt| prompt.text.is_some() && prompt.weight.bounds().1 > 0.0)
}

/// The path of the first prompts that replace the recipe's own: a stage's or an edit's.
fn later_prompts(recipe: &Recipe) -> Option<String> {
    let stages = (recipe.generator.0.iter()).position(|stage| stage.prompts.is_some());
    let edits = (recipe.timeline.iter()).position(|edit| edit.prompts.is_some());
    (stages.map(|index| format!("generator.{index}.prompts")))
        .or_else(|| edits.map(|index| format!("timeline.{index}.prompts")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(text: &str) -> Recipe {
        Recipe::parse(text, "r.yaml", Path::new("")).expect("a recipe")
    }

    fn texts(recipe: &Recipe) -> Vec<&str> {
        recipe.texts().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn prompts_are_lines() {
        let text = "\u{feff}# a battery\r\na cat\r\n\r\n  a dog, # 2 \n";
        assert_eq!(
            parse_prompts(text).expect("prompts"),
            ["a cat", "a dog, # 2"]
        );
        for wrong in ["", "# a\n\n", "a\na", "caf\u{e9}\ncafe\u{301}"] {
            assert!(parse_prompts(wrong).is_err(), "{wrong:?}");
        }
        for wrong in [
            "\u{feff}# a\r\na cat::2\r\n",
            "a\rb :: -.5",
            "a\nof {prompt}",
        ] {
            let error = parse_prompts(wrong).expect_err(wrong).to_string();
            assert!(error.starts_with("line 2, "), "{error}");
        }
        assert!(parse_prompts("std::vec").is_ok());
    }

    #[test]
    fn the_first_text_of_positive_weight_gives_way() {
        let own = recipe(
            "prompts: [{ text: blurry, weight: -0.3 }, { text: a cat, weight: '1 - t', stop: 0.2 }, a dog]\n",
        );
        assert_eq!(obstacle(&own), None);
        assert_eq!(main_text(&own), Some("a cat"));
        let painted = with_prompt(&own, "a boat");
        assert_eq!(texts(&painted), ["blurry", "a boat", "a dog"]);
        let kept = |recipe: &Recipe| (recipe.prompts[1].weight.clone(), recipe.prompts[1].stop);
        assert_eq!(kept(&painted), kept(&own));
    }

    #[test]
    fn a_place_is_filled_wherever_it_is() {
        let own = recipe(
            "prompts: [sharp, 'a photo of {prompt}, {prompt}']\n\
             generator: [pyramid, { kind: pixels, prompts: 'a drawing of {prompt}' }]\n\
             timeline: [{ step: 3, prompts: ['{prompt}'] }]\n",
        );
        assert_eq!(obstacle(&own), None);
        assert_eq!(
            texts(&with_prompt(&own, "a boat")),
            [
                "sharp",
                "a photo of a boat, a boat",
                "a drawing of a boat",
                "a boat"
            ]
        );
        let own = recipe(
            "prompts: [{ keyframes: [a seed, '{prompt}'], source: 'no {prompt}' }]\ninit: Cargo.toml\n",
        );
        assert_eq!(
            texts(&with_prompt(&own, "a boat")),
            ["a seed", "a boat", "no a boat"]
        );
    }

    #[test]
    fn a_prompt_that_would_have_no_place_is_an_obstacle() {
        for (text, part) in [
            (
                "prompts: [{ text: blurry, weight: -0.3 }]\n",
                "no text of positive weight",
            ),
            (
                "prompts: a\ngenerator: [pyramid, { kind: pixels, prompts: b }]\n",
                "`generator.1.prompts`",
            ),
            (
                "prompts: a\ntimeline: [{ step: 3, prompts: [b] }]\n",
                "`timeline.0.prompts`",
            ),
        ] {
            let why = obstacle(&recipe(text)).expect("an obstacle");
            assert!(why.contains(part), "{why}");
        }
    }
}
