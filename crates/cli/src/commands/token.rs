//! `ebb token`.

use api::view::{Page, TokenMade, TokenPurpose, TokenRequest, TokenView};
use serde::Serialize;

use super::Client;
use crate::args;
use crate::error::{Exit, Failure, Kind};
use crate::output::{Answer, Look};
use crate::render;
use crate::table::{Column, col, table};

/// A token that is good no more.
#[derive(Debug, Serialize)]
pub(crate) struct Revoked<'a> {
    pub(crate) revoked: &'a str,
}

impl Answer for Revoked<'_> {
    fn text(&self, _look: Look) -> String {
        format!("{} is revoked", self.revoked)
    }
}

impl Answer for TokenMade {
    /// The secret alone, for `> FILE` and `$(…)`.
    fn text(&self, _look: Look) -> String {
        self.token.clone()
    }
}

pub(crate) async fn token(client: &Client, command: &args::Token) -> Result<Exit, Failure> {
    match command {
        args::Token::Create { join, uses, expires, name } => {
            let request = TokenRequest {
                purpose: if *join { TokenPurpose::Join } else { TokenPurpose::User },
                name: name.clone().unwrap_or_default(),
                uses: join.then_some(*uses),
                valid_ms: *expires,
            };
            let made = client.remote.create_token(&request).await?;
            client.screen.show(&made)?;
        }
        args::Token::List => {
            let page = Page { items: client.remote.tokens().await?, next_cursor: None };
            client.screen.show(&page)?;
        }
        args::Token::Revoke { id } => {
            let gone = client.remote.remove_token(id).await;
            gone.map_err(|failure| match failure.kind {
                Kind::NotFound => failure.next("ebb token list"),
                _ => failure,
            })?;
            client.screen.show(&Revoked { revoked: id })?;
        }
    }
    Ok(Exit::Ok)
}

impl Answer for Page<TokenView> {
    fn text(&self, look: Look) -> String {
        const COLUMNS: [Column; 6] = [
            col("TOKEN"),
            col("FOR"),
            col("NAME").cut(8),
            col("USES LEFT").right(),
            col("EXPIRES"),
            col("AGE").spare(1),
        ];
        let rows = self.items.iter().map(|token| {
            let purpose = render::word(&token.purpose);
            let until = match token.expires_at {
                Some(at) if at <= look.now => "expired".to_owned(),
                Some(at) => format!("in {}", render::short(at.since(look.now))),
                None => "never".to_owned(),
            };
            vec![
                token.id.clone(),
                purpose,
                token.name.clone(),
                token.uses_left.map(|uses| uses.to_string()).unwrap_or_default(),
                until,
                render::ago(token.created_at, look.now),
            ]
        });
        table(&COLUMNS, look.width, rows.collect())
    }
}
