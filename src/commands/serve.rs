//! `phantasia serve`

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use phantasia::serve::{Hub, Listen, Listener, Painter, Queue, Site};

use super::arguments::{DeviceChoice, SessionArgs, positive_steps, steps};
use super::console::{UsageError, eprint_line, print_line, warn, warn_all};
use super::interrupt::interrupt;

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The folder of runs, which also keeps the queue
    #[arg(value_name = "DIR", default_value = "outputs")]
    dir: PathBuf,
    /// The address that the page is served at, instead of one that only this machine reaches
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    listen: Option<Listen>,
    /// The port of the page
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Open the page in the browser
    #[arg(long)]
    open: bool,
    /// A further device that paints at the same time, such as cuda:1; may be given several times
    #[arg(long, value_name = "DEVICE")]
    also: Vec<DeviceChoice>,
    /// How sessions compute
    #[command(flatten)]
    session: SessionArgs,
    /// The number of steps over which changed prompts fade in and the old ones fade out
    #[arg(long, value_name = "STEPS", default_value_t = 20, value_parser = steps, allow_negative_numbers = true)]
    fade: usize,
    /// After the last step, an edit continues painting for its fade plus this many steps
    #[arg(long, value_name = "STEPS", default_value_t = 50, value_parser = positive_steps, allow_negative_numbers = true)]
    extend: usize,
}

/// Serves the page, and paints what is queued.
pub fn run(args: &ServeArgs) -> Result<ExitCode> {
    let mut listen = args.listen.unwrap_or_default();
    listen.port = args.port.or(listen.port);
    let first = args.session.models.device.choice();
    let (mut devices, mut names) = (vec![], vec![]);
    for choice in std::iter::once(&first).chain(&args.also) {
        let (device, name) = choice.open()?;
        if names.contains(&name) {
            let why = format!("{name} paints already: give each device once");
            bail!(UsageError(why));
        }
        devices.push(device);
        names.push(name);
    }
    let hubs = Vec::from_iter(names.iter().map(|name| Hub::new(name, &names, true)));
    let queue = Queue::open(&args.dir, hubs.clone())?;
    let listener = Listener::bind(listen)?;
    let stop = interrupt("step")?;
    let server = listener.serve(Site {
        hubs: hubs.clone(),
        dir: args.dir.clone(),
        queue: Some(queue.clone()),
    })?;
    let link = server.link();
    warn_all(server.warning());
    eprint_line(&link);
    if args.open
        && let Err(error) = open(&link)
    {
        warn(format_args!("{error:#}: open the link by hand"));
    }
    let painters = devices.into_iter().zip(hubs).map(|(device, hub)| Painter {
        device,
        hub,
        session: args.session.options(),
        fade: args.fade,
        extend: args.extend,
    });
    queue.run(&Vec::from_iter(painters), &stop, |result| match result {
        Ok(picture) => _ = print_line(picture.display()),
        Err(error) => eprint_line(format_args!("error: {error:#}")),
    })?;
    // what was painted is saved, and goes on with the next start
    Ok(ExitCode::SUCCESS)
}

/// Opens a link as the desktop does.
fn open(link: &str) -> Result<()> {
    let (program, args): (_, &[&str]) = if cfg!(target_os = "macos") {
        ("open", &[])
    } else if cfg!(windows) {
        ("rundll32", &["url.dll,FileProtocolHandler"])
    } else {
        ("xdg-open", &[])
    };
    let mut command = Command::new(program);
    command.args(args).arg(link);
    // what it prints is not this program's
    (command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn())
    .with_context(|| format!("cannot start {program}, which opens the browser"))?;
    Ok(())
}
