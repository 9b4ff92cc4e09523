//! The server's thread: it accepts connections, and bounds what each may take.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener as AsyncListener, TcpStream};
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
/// How long to wait after the system could not accept a connection, as when it has no more files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// What the server shows.
pub struct Site {
    /// The present render.
    pub hub: Arc<Hub>,
    /// The folder of runs. Nothing outside of it can be reached.
    pub dir: PathBuf,
    /// The queue, where runs can be queued.
    pub queue: Option<Arc<Queue>>,
}

/// An address that is listened at; connections wait until [`Listener::serve`].
pub struct Listener {
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
        let listener = bind(listen)?;
        let address = listener.local_addr()?;
        let access = Access::new(listen.address)?;
        Ok(Self {
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
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(2)
            .thread_name("web-work")
            .build()
            .context("cannot start the server")?;
        std::thread::Builder::new()
            .name("web".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    tokio::select! {
                        _ = stopped => {}
                        () = accept(self.listener, site, self.access) => {}
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

/// Listens at the address. Without a port, any other is taken if the default one is in use.
fn bind(listen: Listen) -> Result<TcpListener> {
    let port = listen.port.unwrap_or(DEFAULT_PORT);
    let bound = TcpListener::bind((listen.address, port));
    let bound = match bound {
        Err(error) if error.kind() == ErrorKind::AddrInUse && listen.port.is_none() => {
            TcpListener::bind((listen.address, 0))
        }
        bound => bound,
    };
    let listener = bound.with_context(|| {
        let address = SocketAddr::from((listen.address, port));
        format!("cannot listen at {address}: choose another port or address")
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn accept(listener: TcpListener, site: Site, access: Access) {
    let Ok(listener) = AsyncListener::from_std(listener) else {
        return;
    };
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
