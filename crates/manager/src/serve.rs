//! Connections: accepted, bounded, watched to their end. A closed connection is news: it may be
//! all that a killed worker says.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use control::Input;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::nodes::ConnectionId;
use crate::rest::{App, Peer};
use crate::slow::WriteLimit;

/// When the system has no more descriptors: accepting again at once would spin.
const ACCEPT_WAIT: Duration = Duration::from_millis(100);

/// Serves until it is told to stop; then open requests are finished, for a while.
pub(crate) async fn serve(listener: TcpListener, app: Arc<App>, router: Router) {
    let room = Arc::new(Semaphore::new(app.config.limits.connections));
    let (open, cut) = (TaskTracker::new(), CancellationToken::new());
    loop {
        let (stream, peer) = tokio::select! {
            () = app.stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(fault) => {
                    tracing::warn!(%fault, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_WAIT).await;
                    continue;
                }
            },
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            tracing::warn!("too many connections; one is refused");
            continue;
        };
        // Small answers must not wait for the acknowledgement of the one before.
        if let Err(fault) = stream.set_nodelay(true) {
            tracing::debug!(%fault, "TCP_NODELAY");
        }
        let connection = Connection::open(Arc::clone(&app), Peer(peer.ip()), place);
        let (router, cut) = (router.clone(), cut.clone());
        open.spawn(async move {
            tokio::select! {
                () = connection.run(stream, router) => {}
                () = cut.cancelled() => {}
            }
        });
    }
    drop(listener);
    open.close();
    let patience = Duration::from_millis(app.config.timing.shutdown_ms);
    if tokio::time::timeout(patience, open.wait()).await.is_err() {
        tracing::warn!(connections = open.len(), "cut off after the time for a shutdown");
        cut.cancel();
        open.wait().await;
    }
}

/// An open connection; its drop says that it is closed, however that came.
struct Connection {
    id: ConnectionId,
    peer: Peer,
    app: Arc<App>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn open(app: Arc<App>, peer: Peer, place: OwnedSemaphorePermit) -> Self {
        app.metrics.connections.inc();
        Self { id: app.connections.open(), peer, app, _place: place }
    }

    async fn run(&self, stream: TcpStream, router: Router) {
        let (id, peer) = (self.id, self.peer);
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(id);
            request.extensions_mut().insert(peer);
            router.clone().oneshot(request)
        });
        let mut http = http1::Builder::new();
        let limits = &self.app.config.limits;
        http.timer(TokioTimer::new())
            .max_buf_size(limits.head_bytes)
            .header_read_timeout(Duration::from_millis(limits.head_ms));
        let stream = WriteLimit::new(stream, Duration::from_millis(limits.write_ms));
        let serving = http.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(serving);
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            () = self.app.stop.cancelled() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(fault) = ended {
            tracing::trace!(%fault, "connection");
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.app.metrics.connections.dec();
        let ended = self.app.connections.close(self.id);
        // A manager that shuts down closes them itself: that says nothing of the workers.
        if self.app.stop.is_cancelled() {
            return;
        }
        let Some(lead) = self.app.seat.lead() else { return };
        for (node, session) in ended {
            tracing::debug!(%node, session, "the last connection closed");
            lead.tell(Input::Closed { node, session });
        }
    }
}
