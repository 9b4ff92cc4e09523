//! What the page costs: the steps of one recipe with a reader of its events connected, and without a page.
//!
//! `cargo bench --bench preview [-- RECIPE [STEPS]]` prints one line of JSON. Two renders of the recipe, of which one has a page, take turns
//! of some steps each, so that a machine whose speed drifts does the same to both; each turn's median is compared with that of the turn
//! before it. The reader reads what comes and looks at nothing. The processor's time counts everything, the reader's included.

use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use candle_core::Device;
use phantasia::live::{Event, RenderOptions, RenderWorker};
use phantasia::recipe::Recipe;
use phantasia::run::{Run, RunFolder};
use phantasia::serve::{Hub, Listen, Listener, Relay, Server, Site};
use phantasia::session::Session;
use tungstenite::Message;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Steps of a turn.
const TURN: usize = 20;
/// The first turns warm caches up.
const WARM_UP: usize = 1;

/// Reads events until the server is gone; returns how many pictures came.
fn read(link: &str) -> Result<JoinHandle<usize>> {
    let address = link
        .replacen("http", "ws", 1)
        .replacen("/?", "/api/events?", 1);
    let host = link["http://".len()..]
        .split('/')
        .next()
        .context("a host")?;
    let (mut socket, _) = tungstenite::client(address.as_str(), TcpStream::connect(host)?)?;
    Ok(std::thread::spawn(move || {
        let mut pictures = 0;
        while let Ok(message) = socket.read() {
            pictures += usize::from(matches!(message, Message::Binary(_)));
        }
        pictures
    }))
}

/// The page of a run and its reader.
fn serve(dir: &Path, relay: &Relay) -> Result<(Server, JoinHandle<usize>)> {
    let listen = Listen {
        port: Some(0),
        ..Listen::default()
    };
    let server = Listener::bind(listen)?.serve(Site {
        hubs: vec![relay.hub()],
        dir: dir.to_owned(),
        queue: None,
    })?;
    let reader = read(&server.link())?;
    Ok((server, reader))
}

/// Whose turn it is, of the renders 0 and 1.
#[derive(Default)]
struct Turns {
    now: Mutex<usize>,
    changed: Condvar,
}

impl Turns {
    fn pass(&self, to: usize) {
        *self.now.lock().expect("the turn") = to;
        self.changed.notify_all();
    }

    fn wait(&self, own: usize) {
        let now = self.now.lock().expect("the turn");
        drop(
            self.changed
                .wait_while(now, |now| *now != own)
                .expect("the turn"),
        );
    }
}

/// Seconds of the processor that this program has used; NaN where the system does not tell.
fn used() -> f64 {
    const TICKS: f64 = 100.0;
    let read = || {
        let text = std::fs::read_to_string("/proc/self/stat").ok()?;
        let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
        Some((ticks(11)? + ticks(12)?) / TICKS)
    };
    read().unwrap_or(f64::NAN)
}

/// What the turns of one render took.
#[derive(Default)]
struct Taken {
    /// The median step of each turn, in seconds.
    medians: Vec<f64>,
    /// The seconds of each turn.
    seconds: Vec<f64>,
    /// The processor's seconds in each turn.
    used: Vec<f64>,
}

/// Paints in turns with another render; `own` is 1 for the one with a page. Returns what it took, and how many pictures a second the page's
/// reader had.
fn paint(recipe: &Recipe, own: usize, turns: &Arc<Turns>) -> Result<(Taken, f64)> {
    let out = tempfile::tempdir()?;
    let session = Session::new(recipe, &Device::Cpu)?;
    let run = Run::new(session, RunFolder::create(out.path(), "preview")?, recipe)?;
    let is_shown = own == 1;
    let options = RenderOptions {
        device: "cpu".to_owned(),
        fade: 20,
        extend: 1,
        hold: false,
        frames: is_shown,
    };
    let relay = is_shown.then(|| Relay::new(&Hub::new("cpu", &[], false)));
    let page = (relay.as_ref())
        .map(|relay| serve(out.path(), relay))
        .transpose()?;
    let taken = Arc::new(Mutex::new(Taken::default()));
    let mut listener = relay.as_ref().map(Relay::listener);
    let (noted, gate) = (Arc::clone(&taken), Arc::clone(turns));
    let (mut steps, mut begun, mut used_before) = (vec![], None, 0.0);
    turns.wait(own);
    let stop = Arc::new(AtomicBool::new(false));
    let worker = RenderWorker::spawn(run, options, stop, move |event| {
        if let Some(listener) = &mut listener {
            listener(event);
        }
        let Event::Step(tick) = event else {
            return;
        };
        if let Some(begun) = begun {
            steps.push(Instant::now().duration_since(begun).as_secs_f64());
        }
        if tick.step % TURN == 0 {
            let mut taken = noted.lock().expect("what it took");
            taken.medians.push(middle(&steps));
            taken.seconds.push(steps.iter().sum());
            taken.used.push(used() - used_before);
            drop(taken);
            steps.clear();
            gate.pass(1 - own);
            if tick.step < tick.steps {
                gate.wait(own);
            }
            used_before = used();
        }
        begun = Some(Instant::now());
    })?;
    if let Some(relay) = relay {
        relay.run(&worker, "preview-001", || Some(Duration::ZERO));
    }
    worker.join()?;
    let rate = match page {
        Some((server, reader)) => {
            drop(server);
            reader.join().unwrap_or_default() as f64
        }
        None => 0.0,
    };
    let taken = std::mem::take(&mut *taken.lock().expect("what it took"));
    let rate = rate / taken.seconds.iter().sum::<f64>();
    Ok((taken, rate))
}

fn middle(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    let recipe = args.first().map_or("recipes/first-light.yaml", |path| path);
    let steps = args.get(1).map_or(Ok(400), |steps| steps.parse())?;
    let mut recipe = Recipe::load(Path::new(recipe))?;
    recipe.steps = (steps / TURN).max(WARM_UP + 2) * TURN;
    let turns = Arc::new(Turns::default());
    let (with, without) = std::thread::scope(|scope| {
        let with = scope.spawn(|| paint(&recipe, 1, &turns));
        let without = paint(&recipe, 0, &turns);
        (with.join().expect("no panic"), without)
    });
    let ((with, rate), (without, _)) = (with?, without?);
    let ratios = |with: &[f64], without: &[f64]| {
        let pairs = with.iter().zip(without).skip(WARM_UP);
        Vec::from_iter(pairs.map(|(with, without)| with / without))
    };
    let of_medians = ratios(&with.medians, &without.medians);
    let total = |values: &[f64]| values.iter().skip(WARM_UP).sum::<f64>();
    println!(
        "{}",
        serde_json::json!({
            "name": "preview",
            "turns": of_medians.len(),
            "median_without": middle(&without.medians),
            "median_with": middle(&with.medians),
            "ratio_of_medians": middle(&of_medians),
            "ratio_of_medians_quartiles": [quantile(&of_medians, 0.25), quantile(&of_medians, 0.75)],
            "ratio_of_seconds": total(&with.seconds) / total(&without.seconds),
            "ratio_of_processor_seconds": total(&with.used) / total(&without.used),
            "pictures_per_second": rate,
        })
    );
    Ok(())
}
