//! The retrieval prior: a pull towards drawings that the prompts name.
//!
//! A small CLIP knows colours and surfaces better than shapes. The prior looks up the things that a prompt names in a bank of drawings, lets the
//! seed choose one of each and its place, and pulls the picture towards them, coarsely and mostly at the start; what is left open is the CLIP's.
//! Retrieval as a start and as a pull is known from inverting CLIPs: CLIP^-1 (arXiv 2505.23161) starts from the nearest picture of a collection
//! and blends its target with the nearest embeddings.

mod bank;
mod colors;
mod ground;
mod layout;
mod reading;
mod term;

use std::sync::Arc;

use anyhow::Result;
use phantasia_core::diagnostic::shown;
use phantasia_core::{Schedule, config, schema};

use self::bank::Bank;
use self::reading::Request;
use self::term::{RetrievalTerm, Scene};
use crate::context::{TermConfig, TermContext};
use crate::prompt_region::PromptRegion;
use crate::term::Term;

config! {
    /// The retrieval prior: a pull towards drawings of the things that the prompts name, out of a bank that is part of the program. A number alone is
    /// its weight, and 0 switches it off.
    ///
    /// The seed decides which drawing of a thing is taken, where it lies and how it is turned. A colour word before a thing colours it, a number from
    /// two to four repeats it; words that name no drawing are left to CLIP.
    #[serde(remote = "Self")]
    #[schemars(rename = "Retrieval", transform = schema::or_schedule)]
    pub struct Config {
        /// How much the drawings count, over the time `t` from 0 to 1 that is left when the prompt or an edit of it begins. Near 1 they count
        /// about as much as the embedded CLIP.
        #[schemars(range(min = 0))]
        pub weight: Schedule = Schedule::parse("max(0.6, 1.6 - 2 * t)").unwrap_or(1.0.into()),
        /// How much the ground counts beside the drawings, where the prompt does not ask for one: a plain colour on which they stand out. Close to
        /// their outlines it counts up to twice as much.
        #[schemars(range(min = 0))]
        pub ground: Schedule = 0.5.into(),
        /// The shorter side in pixels at which the picture is compared with the drawings. What is finer is left to CLIP.
        #[schemars(range(min = 8, max = 64))]
        pub resolution: usize = 64,
    }
}

phantasia_core::or_weight!(
    Config,
    "a weight, or a map with keys such as `weight` and `ground`"
);

/// With the embedded CLIP it is on where a recipe does not say.
impl TermConfig for Option<Box<Config>> {
    fn build(&self, context: &mut TermContext) -> Result<Option<Box<dyn Term>>> {
        match self {
            Some(config) => config.build(context),
            None if context.guides.is_embedded => Config::default().build(context),
            None => Ok(None),
        }
    }
}

impl Config {
    fn build(&self, context: &mut TermContext) -> Result<Option<Box<dyn Term>>> {
        if self.weight.constant() == Some(0.0) {
            return Ok(None);
        }
        let bank = context.model("embedded drawings", |_| Ok(Arc::new(Bank::embedded()?)))?;
        let scenes = scenes(&bank, context)?;
        if scenes.is_empty() {
            return Ok(None);
        }
        let mut names: Vec<&str> = (scenes.iter().flat_map(|scene| &scene.requests))
            .flat_map(Request::entries)
            .map(|entry| bank.entries()[entry].name.as_str())
            .collect();
        names.dedup();
        context.note(format!("drawings retrieved: {}", names.join(", ")));
        Ok(Some(Box::new(RetrievalTerm {
            bank,
            scenes,
            weight: self.weight.clone(),
            ground: self.ground.clone(),
            resolution: self.resolution,
            seed: context.seed(),
            seamless: context.seamless,
            targets: Default::default(),
        })))
    }
}

/// What the prompts ask for. Prompts that count at the same time and in the same region are one scene.
fn scenes(bank: &Bank, context: &mut TermContext) -> Result<Vec<Scene>> {
    let mut scenes: Vec<Scene> = vec![];
    for (prompt, schedule) in context.guides.prompts.clone() {
        if prompt.weight.bounds().1 <= 0.0 || prompt.source.is_some() {
            continue;
        }
        let requests: Vec<Request> = (prompt.texts())
            .map(|text| Request::read(text, bank))
            .collect();
        if requests.iter().all(Request::is_empty) {
            let texts: Vec<&str> = prompt.texts().collect();
            if !texts.is_empty() {
                let text = shown(&texts.join(" "));
                context.note(format!("no drawing for \"{text}\": CLIP alone paints it"));
            }
            continue;
        }
        let is_beside = |scene: &&mut Scene| {
            scene.schedule.is_simultaneous(&schedule)
                && scene.prompt.region == prompt.region
                && scene.requests.len() == 1
                && requests.len() == 1
        };
        if let Some(scene) = scenes.iter_mut().find(is_beside) {
            scene.requests[0].extend(&requests[0]);
            continue;
        }
        let number = (scenes.iter())
            .filter(|scene| scene.schedule.is_simultaneous(&schedule))
            .count();
        scenes.push(Scene {
            region: PromptRegion::of(&prompt, context)?,
            schedule,
            prompt,
            requests,
            number,
        });
    }
    Ok(scenes)
}

#[cfg(test)]
mod tests;
