//! The server's thread: it accepts connections, and bounds what each may take.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, oneshot};

use super::routes::router;
use super::{Access, Hub, Listen, Queue};

/// The port if none is given.
pub const DEFAULT_PORT: u16 = 8017;
/// More connections are closed at once.
const MOST_CONNECTIONS: usize = 128;
/// A request's head must arrive within this time, and may have this many bytes and headers.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_BYTES: usize = 16 << 10;
const HEADERS: usize = 64;
/// What the system keeps of a connection that is not read, in bytes: little, so that a slow reader is seen to be slow before it is shown
/// pictures of long ago.
const SEND_BUFFER: u32 = 128 << 10;
const BACKLOG: u32 = 128;
/// How long to wait after the system could not accept a connection, as when it has no more files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// What the server shows.
pub struct Site {
    /// The present render of each device; at least one.
    pub hubs: Vec<Arc<Hub>>,
    /// The folder of runs. Nothing outside of it can be reached.
    pub dir: PathBuf,
    /// The queue, where runs can be queued.
    pub queue: Option<Arc<Queue>>,
}

impl Site {
    /// The hub of a device, by default the first. `None` if there is no such device.
    pub(super) fn hub(&self, device: Option<&str>) -> Option<&Arc<Hub>> {
        let is_wanted = |hub: &&Arc<Hub>| device.is_none_or(|device| hub.device() == device);
        self.hubs.iter().find(is_wanted)
    }
}

/// An address that is listened at; connections wait until [`Listener::serve`].
pub struct Listener {
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
    access: Access,
}

/// A running server. It ends when it is dropped.
pub struct Server {
    address: SocketAddr,
    token: String,
    _stop: oneshot::Sender<()>,
}

impl Listener {
    /// Listens, with a new token.
    ///
    /// # Errors
    /// When the address cannot be listened at, or there are no random numbers for a token.
    pub fn bind(listen: Listen) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(2)
            .thread_name("web-work")
            .build()
            .context("cannot start the server")?;
        let listener = {
            let _inside = runtime.enter();
            bind(listen)?
        };
        let address = listener.local_addr()?;
        let access = Access::new(listen.address)?;
        Ok(Self {
            runtime,
            listener,
            address,
            access,
        })
    }

    /// Starts the server on a thread of its own.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn serve(self, site: Site) -> Result<Server> {
        let token = self.access.token().to_owned();
        let (stop, stopped) = oneshot::channel();
        let (runtime, listener, access) = (self.runtime, self.listener, self.access);
        std::thread::Builder::new()
            .name("web".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    tokio::select! {
                        _ = stopped => {}
                        () = accept(listener, site, access) => {}
                    }
                });
                // encoding that still runs is for no reader
                runtime.shutdown_background();
            })
            .context("cannot start the server's thread")?;
        Ok(Server {
            address: self.address,
            token,
            _stop: stop,
        })
    }
}

impl Server {
    /// The link to the page, with the token.
    pub fn link(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            // every interface; this one is always there
            let is_v4 = address.is_ipv4();
            let loopback = if is_v4 { "127.0.0.1" } else { "::1" };
            address.set_ip(loopback.parse().unwrap_or(address.ip()));
        }
        format!("http://{address}/?token={}", self.token)
    }

    /// A warning, if other machines can connect.
    pub fn warning(&self) -> Option<String> {
        let address = self.address;
        (!address.ip().is_loopback()).then(|| {
            format!(
                "other machines can reach the page at {address}: the token in its link is all that keeps them out, and what passes is not \
                 encrypted; `ssh -L` to a server on 127.0.0.1 is safer"
            )
        })
    }
}

/// Listens at the address. Where it names no port, the default one is tried first, and a free one is taken if that is in use.
fn bind(listen: Listen) -> Result<TcpListener> {
    let address = SocketAddr::from((listen.address, listen.port.unwrap_or(DEFAULT_PORT)));
    let bound = match bind_to(address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && listen.port.is_none() => {
            bind_to((listen.address, 0).into())
        }
        bound => bound,
    };
    bound.with_context(|| format!("cannot listen at {address}: choose another port or address"))
}

fn bind_to(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // a port that a server has left a moment ago is free; elsewhere this would share one that is in use
    if cfg!(unix) {
        socket.set_reuseaddr(true)?;
    }
    // connections inherit it
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener, site: Site, access: Access) {
    let router = router(Arc::new(site), access);
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let router = router.clone();
        tokio::spawn(async move {
            connection(stream, router).await;
            drop(place);
        });
    }
}

/// Answers the requests of one connection. Its errors are the client's.
async fn connection(stream: TcpStream, router: axum::Router) {
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}
