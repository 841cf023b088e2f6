//! One suite for both databases. Postgres is the server of `EBB_TEST_POSTGRES_URL`, on which the
//! suite makes databases of its own; `cargo xtask test` starts one.

#![expect(clippy::unwrap_used, reason = "a test's helpers are tests, too")]

mod changes;
mod commits;
mod histories;
mod inbox;
mod items;
mod leases;
mod past;
mod proxy;
mod reads;
mod retention;
mod support;

/// Each function becomes a test on SQLite and one on Postgres.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $name() {
                let database = crate::support::Database::sqlite().await;
                super::$name(&database).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test]
            async fn $name() {
                let database = crate::support::Database::postgres().await;
                super::$name(&database).await;
                database.drop().await;
            })*
        }
    };
}
pub(crate) use on_both;
