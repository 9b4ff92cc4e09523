//! `phantasia serve`

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use clap::Args;
use phantasia::serve::{Hub, Listen, Listener, Painter, Queue, Site};

use super::arguments::{SessionArgs, positive_steps, steps};
use super::console::{eprint_line, print_line, warn, warn_all};
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
    let (device, device_name) = args.session.models.device.open()?;
    let hub = Hub::new(true);
    let queue = Queue::open(&args.dir, hub.clone())?;
    let listener = Listener::bind(listen)?;
    let stop = interrupt("step")?;
    let server = listener.serve(Site {
        hub,
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
    let painter = Painter {
        device,
        device_name,
        session: args.session.options(),
        fade: args.fade,
        extend: args.extend,
    };
    queue.run(&painter, &stop, |result| match result {
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
