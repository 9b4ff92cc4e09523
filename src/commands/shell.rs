//! `phantasia completions` and `phantasia man`: what a shell and `man` know about the commands, from the commands' own definitions.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_complete::Shell;

use super::console::{print_bytes, print_line};

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// What `completions --help` ends with.
pub const COMPLETIONS_HELP: &str = "\
Examples:
  phantasia completions bash > ~/.local/share/bash-completion/completions/phantasia
  phantasia completions zsh > ~/.zfunc/_phantasia        (with `fpath+=~/.zfunc` before `compinit`)
  phantasia completions fish > ~/.config/fish/completions/phantasia.fish";

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write a page for each command into this folder, instead of printing the page of the program
    dir: Option<PathBuf>,
}

/// Prints a script by which a shell completes the commands.
pub fn completions(args: &CompletionsArgs, mut command: Command) -> Result<ExitCode> {
    let name = command.get_name().to_owned();
    let mut script = vec![];
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    print_bytes(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the manual page, or writes those of all commands.
pub fn man(args: &ManArgs, command: Command) -> Result<ExitCode> {
    match &args.dir {
        None => {
            let mut page = vec![];
            clap_mangen::Man::new(command).render(&mut page)?;
            print_bytes(&page)?;
        }
        Some(dir) => write_pages(dir, command)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes `phantasia.1`, `phantasia-render.1` and so on, and prints where.
fn write_pages(dir: &Path, command: Command) -> Result<()> {
    let context = || format!("cannot write manual pages into `{}`", dir.display());
    std::fs::create_dir_all(dir).with_context(context)?;
    clap_mangen::generate_to(command, dir).with_context(context)?;
    Ok(print_line(dir.display())?)
}
