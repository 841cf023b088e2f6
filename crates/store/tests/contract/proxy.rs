//! A wire between the store and Postgres that counts round trips and can break.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Where the next request's connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// Before the server gets it.
    Request = 1,
    /// After the server has carried it out.
    Answer = 2,
}

#[derive(Default)]
struct State {
    /// Requests that ended with a Sync or were a simple query: the client awaits an answer.
    trips: AtomicU64,
    next: AtomicU8,
}

/// Listens beside a server.
pub(crate) struct Proxy {
    state: Arc<State>,
    /// The same database through this wire.
    pub(crate) url: String,
}

impl Proxy {
    pub(crate) async fn before(url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap();
        let (authority, path) = rest.split_once('/').unwrap();
        let (user, server) = authority.rsplit_once('@').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{scheme}://{user}@{}/{path}", listener.local_addr().unwrap());
        let state = Arc::new(State::default());
        tokio::spawn(serve(listener, server.to_owned(), state.clone()));
        Self { state, url }
    }

    pub(crate) fn trips(&self) -> u64 {
        self.state.trips.load(Ordering::SeqCst)
    }

    pub(crate) fn break_next(&self, at: Break) {
        self.state.next.store(at as u8, Ordering::SeqCst);
    }

    /// Whether the break was made.
    pub(crate) fn has_broken(&self) -> bool {
        self.state.next.load(Ordering::SeqCst) == 0
    }
}

async fn serve(listener: TcpListener, server: String, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        client.set_nodelay(true).unwrap();
        let server = TcpStream::connect(&server).await.unwrap();
        server.set_nodelay(true).unwrap();
        let state = state.clone();
        tokio::spawn(async move {
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            // Whichever ends first ends the connection.
            tokio::select! {
                () = requests(&mut from_client, &mut to_server, &state) => {}
                () = answers(&mut from_server, &mut to_client, &state) => {}
            }
        });
    }
}

/// Passes whole messages on, up to each Sync together.
async fn requests(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, state: &State) {
    let mut request = Vec::new();
    let mut is_started = false;
    loop {
        let mut kind = None;
        if is_started {
            let Ok(byte) = from.read_u8().await else { return };
            request.push(byte);
            kind = Some(byte);
        }
        is_started = true;
        let Ok(length) = from.read_u32().await else { return };
        request.extend(length.to_be_bytes());
        let begin = request.len();
        request.resize(begin + usize::try_from(length).unwrap() - 4, 0);
        if from.read_exact(&mut request[begin..]).await.is_err() {
            return;
        }
        if matches!(kind, Some(b'S' | b'Q')) {
            state.trips.fetch_add(1, Ordering::SeqCst);
            if state.next.load(Ordering::SeqCst) == Break::Request as u8 {
                state.next.store(0, Ordering::SeqCst);
                return;
            }
        }
        let is_waited_for = !matches!(kind, Some(b'P' | b'B' | b'D' | b'E' | b'C'));
        if is_waited_for {
            if to.write_all(&request).await.is_err() {
                return;
            }
            request.clear();
        }
    }
}

async fn answers(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, state: &State) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if state.next.load(Ordering::SeqCst) == Break::Answer as u8 {
            // ReadyForQuery ends the answer: the server is done.
            let ready = [b'Z', 0, 0, 0, 5];
            if buffer[..length].windows(5).any(|part| part == ready) {
                state.next.store(0, Ordering::SeqCst);
                return;
            }
            continue;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
