//! Tokens: only their SHA-256 is kept.

use model::{NodeId, Timestamp};

use crate::inbox::{hex, unhex};
use crate::load::narrow;
use crate::session::{Value, records};
use crate::{Store, StoreError};

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenKind {
    /// A person's or a client's.
    User,
    /// Lets static workers join.
    WorkerJoin,
    /// A node's, for its syncs.
    Node(NodeId),
}

/// A token that is valid as long as it is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// SHA-256 of its text.
    pub hash: [u8; 32],
    /// What it is for.
    pub kind: TokenKind,
    /// For people.
    pub name: String,
    /// How often it may still be used; for ever when absent.
    pub uses_left: Option<u32>,
    /// Not valid from then on.
    pub expires: Option<Timestamp>,
    /// When it was made.
    pub created: Timestamp,
}

records! {
    TokenRecord {
        hash: String, kind: String, name: String, node: Option<i64>, uses_left: Option<i64>,
        expires_ms: Option<i64>, created_ms: i64,
    }
}

impl Store {
    /// Keeps a token; one with the same hash is replaced.
    pub async fn put_token(&self, token: &Token) -> Result<(), StoreError> {
        let (kind, node) = match token.kind {
            TokenKind::User => ("user", None),
            TokenKind::WorkerJoin => ("worker-join", None),
            TokenKind::Node(node) => ("node", Some(node.to_sql())),
        };
        let sql = "INSERT INTO tokens (hash, kind, name, node, uses_left, expires_ms, created_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (hash) DO UPDATE SET \
             kind = excluded.kind, name = excluded.name, node = excluded.node, \
             uses_left = excluded.uses_left, expires_ms = excluded.expires_ms, \
             created_ms = excluded.created_ms";
        let values = [
            hex(&token.hash).into(),
            kind.into(),
            token.name.replace('\0', "\u{fffd}").into(),
            Value::MaybeInt(node),
            Value::MaybeInt(token.uses_left.map(i64::from)),
            Value::MaybeInt(token.expires.map(Timestamp::as_ms)),
            token.created.as_ms().into(),
        ];
        self.write(sql, &values).await?;
        Ok(())
    }

    /// All tokens, by age.
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        let sql = "SELECT hash, kind, name, node, uses_left, expires_ms, created_ms FROM tokens \
             ORDER BY created_ms, hash";
        let rows: Vec<TokenRecord> = self.all(sql, &[]).await?;
        rows.into_iter().map(TokenRecord::token).collect()
    }

    /// Forgets a token; false when there was none.
    pub async fn delete_token(&self, hash: &[u8; 32]) -> Result<bool, StoreError> {
        Ok(self.write("DELETE FROM tokens WHERE hash = $1", &[hex(hash).into()]).await? == 1)
    }

    /// Spends one use of a join token; false when it is none, is used up or has expired.
    pub async fn use_join_token(
        &self,
        hash: &[u8; 32],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE tokens SET uses_left = uses_left - 1 WHERE hash = $1 \
             AND kind = 'worker-join' AND (uses_left IS NULL OR uses_left > 0) \
             AND (expires_ms IS NULL OR expires_ms > $2)";
        Ok(self.write(sql, &[hex(hash).into(), now.as_ms().into()]).await? == 1)
    }
}

impl TokenRecord {
    fn token(self) -> Result<Token, StoreError> {
        let kind = match (self.kind.as_str(), self.node) {
            ("user", _) => TokenKind::User,
            ("worker-join", _) => TokenKind::WorkerJoin,
            ("node", Some(node)) => TokenKind::Node(NodeId::from_sql(node)),
            (kind, _) => return Err(StoreError::Corrupt(format!("a token of kind `{kind}`"))),
        };
        Ok(Token {
            hash: unhex(&self.hash)?,
            kind,
            name: self.name,
            uses_left: self.uses_left.map(narrow).transpose()?,
            expires: self.expires_ms.map(Timestamp::from_ms),
            created: Timestamp::from_ms(self.created_ms),
        })
    }
}
