//! The demo's own cluster: a manager in this process on a market, in a folder that nobody else
//! uses.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::view::NodeView;
use manager::market::{Drill, Weather};
use manager::{Config, Listen};
use model::MicroUsd;
use tracing::{info, warn};

use crate::commands::manager::{Here, Machines};
use crate::discovery::Endpoint;
use crate::error::Failure;
use crate::process;
use crate::remote::Remote;

/// Machines at once: each is a process here, and eight show a cluster.
const MACHINES: u32 = 8;
/// EC2 gives two minutes; here a minute is a second.
const NOTICE_MS: u64 = 2_000;
/// An idle machine goes after this, so that the end of the demo shows it.
const IDLE_RETIRE_MS: u64 = 1_000;
/// How often the market is asked what it has and sells: its clock is no shorter than ours, but
/// the demo is.
const LIST_MS: u64 = 500;
/// No process of ours survives this.
const END_LIMIT: Duration = Duration::from_secs(10);

/// A cluster that ends with the demo.
pub(crate) struct Cluster {
    folder: PathBuf,
    here: Here,
}

impl Cluster {
    pub(crate) async fn start(folder: &Path, seed: u64) -> Result<Self, Failure> {
        let mut config = Config::new(folder);
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        config.listen = Listen { address, or_next: false };
        config.control.limits.max_nodes = MACHINES;
        config.control.limits.max_cpu_millis = u64::from(MACHINES) * 4_000;
        config.control.limits.max_usd_per_hour = MicroUsd(10_000_000);
        config.control.limits.idle_retire_ms = IDLE_RETIRE_MS;
        config.timing.list_ms = LIST_MS;
        let drill = Drill { notices: 1, kills: 1, ..Drill::NONE };
        let weather = Weather { seed, notice_ms: NOTICE_MS, drill, ..Weather::default() };
        let here = Here::with(config, Some((weather, MACHINES))).await?;
        Ok(Self { folder: folder.to_owned(), here })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn url(&self) -> &str {
        self.here.url()
    }

    pub(crate) fn remote(&self) -> Result<Remote, Failure> {
        let (url, token) = (self.here.url().to_owned(), self.here.token().to_owned());
        Remote::new(&Endpoint { url, token, data_dir: None })
    }

    /// The market's machines that have a process.
    pub(crate) fn machines(&self) -> Result<BTreeSet<String>, Failure> {
        machines(&self.folder)
    }

    /// Ends everything. Answers the machines that still have a process after that.
    pub(crate) async fn end(self) -> Result<BTreeSet<String>, Failure> {
        let Self { folder, here } = self;
        if tokio::time::timeout(END_LIMIT, here.end(Machines::End)).await.is_err() {
            warn!("the cluster does not end in order");
        }
        let left = machines(&folder)?;
        info!(machines = left.len(), "the cluster has ended");
        end_at_once(folder).await;
        Ok(left)
    }
}

/// Ends every process of the folder.
pub(crate) async fn end_at_once(folder: PathBuf) {
    let ended = tokio::task::spawn_blocking(move || process::end_all(&folder, END_LIMIT)).await;
    if !matches!(ended, Ok(Ok(0))) {
        warn!(?ended, "some processes of the demo do not end");
    }
}

fn machines(folder: &Path) -> Result<BTreeSet<String>, Failure> {
    let seen = process::that_mention(folder)
        .map_err(|fault| Failure::local(format!("cannot look for processes: {fault}")))?;
    Ok(seen.into_iter().filter_map(|seen| seen.machine).collect())
}

/// Machines that have a process though the manager knows of no such node that lives.
pub(crate) fn unaccounted(machines: &BTreeSet<String>, nodes: &[NodeView]) -> BTreeSet<String> {
    let known: BTreeSet<_> = nodes
        .iter()
        .filter(|node| node.state != "gone")
        .filter_map(|node| node.name.as_deref())
        .collect();
    machines.iter().filter(|name| !known.contains(name.as_str())).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_machine_without_a_living_node_is_a_leak() {
        let mut nodes = samples::nodes();
        let name = nodes[0].name.clone().expect("a name");
        let machines = BTreeSet::from([name, "i-stray".to_owned()]);
        assert_eq!(unaccounted(&machines, &nodes), BTreeSet::from(["i-stray".to_owned()]));
        nodes[0].state = "gone".into();
        assert_eq!(unaccounted(&machines, &nodes), machines);
    }
}
