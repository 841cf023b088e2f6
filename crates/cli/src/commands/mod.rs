//! One file for each command, or for a few of one kind.

pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod logs;
pub(crate) mod manager;
pub(crate) mod nodes;
pub(crate) mod outputs;
pub(crate) mod plan;
pub(crate) mod retry;
pub(crate) mod run;
pub(crate) mod simulate;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod submit;
pub(crate) mod token;
pub(crate) mod up;
pub(crate) mod wait;
pub(crate) mod worker;

use model::JobId;

use crate::discovery::{self, Surroundings};
use crate::error::Failure;
use crate::output::Screen;
use crate::remote::Remote;
use crate::selector::{JobSelector, pick};

/// What every command of a client has at hand.
pub(crate) struct Client {
    pub(crate) remote: Remote,
    pub(crate) screen: Screen,
}

impl Client {
    /// Finds the manager.
    pub(crate) fn connect(url: Option<&str>, screen: Screen) -> Result<Self, Failure> {
        let endpoint = discovery::find(url, &Surroundings::of_process())?;
        Ok(Self { remote: Remote::new(&endpoint)?, screen })
    }

    /// The jobs that a selector names; never none.
    pub(crate) async fn select(&self, selector: &JobSelector) -> Result<Vec<JobId>, Failure> {
        match selector {
            JobSelector::Id(id) => Ok(vec![*id]),
            JobSelector::Last => pick(selector, &self.remote.latest_jobs(1).await?),
            JobSelector::Prefix(_) => pick(selector, &self.remote.jobs(None).await?),
            JobSelector::Label(key, value) => {
                let label = format!("{key}={value}");
                pick(selector, &self.remote.jobs(Some(&label)).await?)
            }
        }
    }

    /// The jobs that any of the selectors names, each once.
    pub(crate) async fn select_all(
        &self,
        selectors: &[JobSelector],
    ) -> Result<Vec<JobId>, Failure> {
        let mut ids = Vec::new();
        for selector in selectors {
            for id in self.select(selector).await? {
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
        }
        Ok(ids)
    }

    /// The one job that a selector names.
    pub(crate) async fn select_one(&self, selector: &JobSelector) -> Result<JobId, Failure> {
        match self.select(selector).await?[..] {
            [id] => Ok(id),
            ref many => {
                let some: Vec<_> = many.iter().take(3).map(ToString::to_string).collect();
                let cause = format!("{} jobs match, {} among them", many.len(), some.join(", "));
                Err(Failure::usage(cause).next("name one of them by its id"))
            }
        }
    }
}
