//! `phantasia models`

use std::process::ExitCode;

use anyhow::Result;
use phantasia::weights;

use super::console::say;
use crate::cli::{ModelsArgs, ModelsCommand};

/// Lists the models.
pub fn run(args: &ModelsArgs) -> Result<ExitCode> {
    match args.command.unwrap_or(ModelsCommand::List) {
        ModelsCommand::List => list(),
    }
}

fn list() -> Result<ExitCode> {
    let models = weights::known();
    let wide = models
        .iter()
        .map(|model| model.name.len())
        .max()
        .unwrap_or(0);
    for model in &models {
        let place = match &model.cached {
            Some(folder) => folder.display().to_string(),
            None if model.name == weights::EMBEDDED => "in the program".to_owned(),
            None => "not on this machine".to_owned(),
        };
        say(format_args!(
            "{:wide$}  {}\n{:wide$}  {place}",
            model.name, model.description, ""
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
