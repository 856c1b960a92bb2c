use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

use crate::{AnswerStore, App, AuditSink, Classifier, ServeConfig, ServeError};

/// How long a connection may take to send the head of a request, or stay silent.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// After an error of the listener, such as no more files: connections that end may mend it.
const PAUSE: Duration = Duration::from_millis(50);

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: App,
}

impl Server {
    /// Listens at an address; port 0 is any free one.
    ///
    /// # Errors
    /// What [`ServeConfig::check`] finds; an address that cannot be listened at.
    pub async fn bind(
        address: SocketAddr,
        classifier: Arc<dyn Classifier>,
        config: ServeConfig,
        store: Option<AnswerStore>,
        sink: AuditSink,
    ) -> Result<Self, ServeError> {
        config.check(address)?;
        let bind_error = |source| ServeError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        let app = App::new(classifier, address, config, store, sink)?;
        Ok(Self { listener, address, app })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is done; then takes nothing new, and waits for what is being answered, for
    /// [`ServeConfig::drain`] at most.
    pub async fn run_until(self, stop: impl Future<Output = ()>) {
        let Self { listener, app, .. } = self;
        let (graceful, connections) = (GracefulShutdown::new(), Arc::new(Semaphore::new(app.config().max_connections)));
        let mut protocol = http1::Builder::new();
        protocol.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        let router = app.router();
        tokio::pin!(stop);
        loop {
            let next = async {
                let place = Arc::clone(&connections).acquire_owned().await;
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                biased;
                () = &mut stop => break,
                next = next => next,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let _ = stream.set_nodelay(true);
            let service = TowerToHyperService::new(router.clone());
            let connection = graceful.watch(protocol.serve_connection(TokioIo::new(stream), service));
            tokio::spawn(async move {
                let _place = place;
                // A client that breaks off is no error of the server.
                let _ = connection.await;
            });
        }
        drop(listener);
        let _ = tokio::time::timeout(app.config().drain, graceful.shutdown()).await;
    }
}

/// Serves until Ctrl-C (or a request to end from the operating system), on threads of its own; `ready` is told the address. What is
/// being answered then is answered still; a second Ctrl-C ends at once.
///
/// # Errors
/// As [`Server::bind`].
pub fn serve(
    address: SocketAddr,
    classifier: Arc<dyn Classifier>,
    config: ServeConfig,
    store: Option<AnswerStore>,
    sink: AuditSink,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), ServeError> {
    let start_error = |source| ServeError::Start { what: "the async runtime", source };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(start_error)?;
    runtime.block_on(async {
        let server = Server::bind(address, classifier, config, store, sink).await?;
        let mut signals = Signals::new().map_err(|source| ServeError::Start { what: "waiting for Ctrl-C", source })?;
        ready(server.address());
        let (stop, stopped) = oneshot::channel();
        let twice = async {
            signals.next().await;
            let _ = stop.send(());
            signals.next().await;
        };
        let stopped = async {
            let _ = stopped.await;
        };
        tokio::select! {
            () = server.run_until(stopped) => {}
            () = twice => {}
        }
        Ok(())
    })
}

/// What asks a program to end.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self { terminate: signal(SignalKind::terminate())? })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = self.terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}
