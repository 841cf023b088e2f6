//! Who may what. The database keeps hashes; each replica holds them in memory, so that no request
//! reads the database to be let in.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use model::{NodeId, Timestamp};
use store::{Store, StoreError, Token, TokenKind};
use subtle::ConstantTimeEq;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::clock;
use crate::secret::{self, TokenHash};

/// Whom a token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Somebody who may do everything that REST offers.
    User,
    /// This node's digester.
    Node(NodeId),
}

/// An unknown token may be new at another replica: the table is read again, but not more often.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// A token that was removed at another replica is refused here after this.
const REFRESH: Duration = Duration::from_secs(5);

/// Why a token could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// The system gives no random bytes.
    #[error("no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The tokens of this cluster.
pub(crate) struct Tokens {
    store: Arc<Store>,
    known: RwLock<HashMap<TokenHash, Token>>,
    read_at: Mutex<Option<Instant>>,
}

impl Tokens {
    /// Reads the table.
    pub(crate) async fn open(store: Arc<Store>) -> Result<Self, StoreError> {
        let tokens = Self { store, known: RwLock::default(), read_at: Mutex::new(None) };
        tokens.refresh(Instant::now()).await?;
        Ok(tokens)
    }

    /// Whom this token stands for; `None` when it is unknown, expired or removed.
    pub(crate) async fn caller(&self, token: &str) -> Result<Option<Caller>, StoreError> {
        let hash = secret::hash(token);
        match self.known(&hash) {
            Some(caller) => Ok(Some(caller)),
            None => self.look_up(&hash).await,
        }
    }

    /// Whom this token stands for, as far as memory tells.
    pub(crate) fn known(&self, hash: &TokenHash) -> Option<Caller> {
        self.find(hash).and_then(|known| valid(&known, clock::now()))
    }

    /// The same by the table: another replica may have made it a moment ago.
    pub(crate) async fn look_up(&self, hash: &TokenHash) -> Result<Option<Caller>, StoreError> {
        // What is known, and yet not valid, will not be.
        if self.find(hash).is_none() {
            self.refresh(Instant::now()).await?;
        }
        Ok(self.known(hash))
    }

    /// The map's key is a hash of 256 random bits, so the time that the map takes tells nothing of
    /// a token; the comparison that decides takes the same time always.
    fn find(&self, hash: &TokenHash) -> Option<Token> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(hash).filter(|token| bool::from(token.hash.ct_eq(hash))).cloned()
    }

    /// Sees to it that the table was read after `asked`. All who wait share one reading, and the
    /// next one waits its turn: whoever guesses tokens slows down nobody but himself.
    async fn refresh(&self, asked: Instant) -> Result<(), StoreError> {
        let mut read_at = loop {
            let read_at = self.read_at.lock().await;
            let next = match *read_at {
                Some(last) if last >= asked => return Ok(()),
                Some(last) if last.elapsed() < LOOK_AGAIN => last + LOOK_AGAIN,
                _ => break read_at,
            };
            drop(read_at);
            tokio::time::sleep_until(next).await;
        };
        let began = Instant::now();
        let tokens = self.store.tokens().await?;
        let fresh: HashMap<_, _> = tokens.into_iter().map(|token| (token.hash, token)).collect();
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        *read_at = Some(began);
        Ok(())
    }

    /// Reads the table on a period, for removals at other replicas.
    pub(crate) async fn keep_fresh(&self) {
        loop {
            tokio::time::sleep(REFRESH).await;
            if let Err(fault) = self.refresh(Instant::now()).await {
                tracing::warn!(%fault, "tokens could not be read again");
            }
        }
    }

    /// All of them, by age.
    pub(crate) async fn list(&self) -> Result<Vec<Token>, StoreError> {
        self.store.tokens().await
    }

    /// Makes and keeps a token; answers its text, which nobody can find out later.
    pub(crate) async fn make(
        &self,
        kind: TokenKind,
        name: String,
        uses_left: Option<u32>,
        expires: Option<Timestamp>,
    ) -> Result<(String, Token), TokenError> {
        let text = secret::new_token(match kind {
            TokenKind::User => "ebbu",
            TokenKind::WorkerJoin => "ebbj",
            TokenKind::Node(_) => "ebbn",
        })?;
        let hash = secret::hash(&text);
        let token = Token { hash, kind, name, uses_left, expires, created: clock::now() };
        self.keep(token.clone()).await?;
        Ok((text, token))
    }

    /// Keeps a token, here at once and at other replicas when they ask.
    pub(crate) async fn keep(&self, token: Token) -> Result<(), StoreError> {
        // Not while the table is read: what is read then may lack it.
        let _reading = self.read_at.lock().await;
        self.store.put_token(&token).await?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(token.hash, token);
        Ok(())
    }

    /// The token of a node that joined; those of its earlier sessions are void.
    pub(crate) async fn make_for_node(&self, node: NodeId) -> Result<String, TokenError> {
        let older = self.of_node(node);
        let (text, _) = self.make(TokenKind::Node(node), String::new(), None, None).await?;
        for hash in older {
            self.remove(&hash).await?;
        }
        Ok(text)
    }

    fn of_node(&self, node: NodeId) -> Vec<TokenHash> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let of_node = |token: &&Token| token.kind == TokenKind::Node(node);
        known.values().filter(of_node).map(|token| token.hash).collect()
    }

    /// Forgets a token; false when there was none.
    pub(crate) async fn remove(&self, hash: &TokenHash) -> Result<bool, StoreError> {
        let _reading = self.read_at.lock().await;
        let was_there = self.store.delete_token(hash).await?;
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(hash);
        Ok(was_there)
    }

    /// Spends one use of a join token; false when it has none.
    pub(crate) async fn use_join(&self, token: &str) -> Result<bool, StoreError> {
        self.store.use_join_token(&secret::hash(token), clock::now()).await
    }
}

fn valid(token: &Token, now: Timestamp) -> Option<Caller> {
    if token.expires.is_some_and(|expires| expires <= now) {
        return None;
    }
    match token.kind {
        TokenKind::User => Some(Caller::User),
        TokenKind::Node(node) => Some(Caller::Node(node)),
        // It lets a node join and nothing else.
        TokenKind::WorkerJoin => None,
    }
}
