//! `ebb token`.

use api::view::{Page, TokenPurpose, TokenRequest, TokenView};
use model::Timestamp;
use serde::Serialize;

use super::{Client, now};
use crate::args;
use crate::error::{Exit, Failure};
use crate::render;

#[derive(Debug, Serialize)]
struct Revoked<'a> {
    revoked: &'a str,
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
            client.screen.show(&made, |_| made.token.clone())?;
        }
        args::Token::List => {
            let page = Page { items: client.remote.tokens().await?, next_cursor: None };
            client.screen.show(&page, |_| list(&page.items, now()))?;
        }
        args::Token::Revoke { id } => {
            client.remote.remove_token(id).await?;
            client.screen.show(&Revoked { revoked: id }, |_| format!("{id} is revoked"))?;
        }
    }
    Ok(Exit::Ok)
}

fn list(tokens: &[TokenView], now: Timestamp) -> String {
    let rows = tokens.iter().map(|token| {
        let purpose = match token.purpose {
            TokenPurpose::User => "user",
            TokenPurpose::Join => "join",
            TokenPurpose::Node => "node",
        };
        let until = match token.expires_at {
            Some(at) if at <= now => "expired".to_owned(),
            Some(at) => format!("in {}", render::short(at.since(now))),
            None => "never".to_owned(),
        };
        vec![
            token.id.clone(),
            purpose.to_owned(),
            token.name.clone(),
            token.uses_left.map(|uses| uses.to_string()).unwrap_or_default(),
            until,
            render::ago(token.created_at, now),
        ]
    });
    let head = ["TOKEN", "FOR", "NAME", "USES LEFT", "EXPIRES", "AGE"];
    render::table(&head, &[3], rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::NOW;

    #[test]
    fn tokens_are_listed_without_secrets() {
        let join = TokenView {
            id: "tok_1".into(),
            purpose: TokenPurpose::Join,
            name: "rack 3".into(),
            node: None,
            uses_left: Some(2),
            expires_at: Some(NOW.plus_ms(3_600_000)),
            created_at: NOW.plus_ms(-60_000),
        };
        let user = TokenView {
            purpose: TokenPurpose::User,
            uses_left: None,
            expires_at: None,
            ..join.clone()
        };
        insta::assert_snapshot!(list(&[join, user], NOW), @r"
        TOKEN  FOR   NAME    USES LEFT  EXPIRES  AGE
        tok_1  join  rack 3          2  in 1h    1m
        tok_1  user  rack 3             never    1m
        ");
    }
}
