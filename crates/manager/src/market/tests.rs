//! The adapter with a shell script in place of `ebb worker`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ::market::{Drill, Weather};
use cloud::{Cloud, CloudError, Received};
use model::{
    InstanceId, Intent, IntentId, IntentState, LaunchRequest, Machine, MachineState, NoticeKind,
    PurchaseOption, RefusalScope, Timestamp,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{MarketCloud, MarketConfig, MarketError, SharedMarket, processes};

/// Has a task in a session of its own, one that nobody waits for, and one that hides its
/// environment; ends in order when told so.
const WORKER: &str = r#"
trap 'echo terminated > ended; exit 0' TERM
echo "$@" > arguments
env > environment
echo $$ >> starts
EBB_TASK_ID=job_0.0.0 setsid sh -c 'env -i sleep 1000 & wait' &
(EBB_TASK_ID=job_0.0.1 setsid sleep 1000 &)
touch ready
while :; do sleep 1000 & wait $!; done
"#;

/// Longer than anything here takes, on a busy machine too.
const LIMIT: Duration = Duration::from_secs(20);

struct Fixture {
    dir: TempDir,
    weather: Weather,
    url: Option<String>,
    program: PathBuf,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("worker.sh"), WORKER).unwrap();
        let url = Some("http://127.0.0.1:7878".to_owned());
        Self { dir, weather: Weather::default(), url, program: "/bin/sh".into() }
    }

    fn config(&self) -> MarketConfig {
        let script = self.dir.path().join("worker.sh").display().to_string();
        MarketConfig {
            data_dir: self.dir.path().to_path_buf(),
            program: self.program.clone(),
            arguments: vec![script, "worker".to_owned()],
            manager_url: self.url.clone(),
            weather: self.weather.clone(),
            max_machines: 4,
        }
    }

    async fn open(&self) -> Result<MarketCloud, MarketError> {
        MarketCloud::open(self.config()).await
    }

    fn file(&self, machine: &InstanceId, name: &str) -> PathBuf {
        self.dir.path().join("market").join(machine.as_str()).join(name)
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("market/state.json")
    }

    /// Launches machines and waits until their scripts have started all they start.
    async fn launch(&self, market: &MarketCloud, count: u32) -> Vec<InstanceId> {
        let launched = market.launch(&intent(market, 1, count).await).await.unwrap();
        assert_eq!(launched.refusal, None);
        let ids: Vec<_> = launched.machines.into_iter().map(|it| it.instance).collect();
        for id in &ids {
            until("the script is ready", || self.file(id, "ready").exists().then_some(())).await;
        }
        ids
    }

    fn worker(&self, machine: &InstanceId) -> Pid {
        let pids = fs::read_to_string(self.file(machine, "starts")).unwrap();
        Pid::from_raw(pids.trim().parse().unwrap())
    }
}

async fn intent(market: &MarketCloud, number: u64, count: u32) -> Intent {
    let mut offers = market.offers().await.unwrap();
    offers.retain(|offer| offer.pool.option == PurchaseOption::Spot);
    Intent {
        id: IntentId::from_number(number),
        request: LaunchRequest { offers, count, reason: "test".into() },
        state: IntentState::Requested,
        since: Timestamp::default(),
        opened: Timestamp::default(),
        born: 0,
    }
}

async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < LIMIT, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Fetches and acknowledges notices until there were `count`.
async fn notices(market: &MarketCloud, count: usize) -> Vec<(InstanceId, NoticeKind)> {
    let mut all = Vec::new();
    while all.len() < count {
        let received = tokio::time::timeout(LIMIT, market.notices()).await.unwrap().unwrap();
        let (receipts, told): (Vec<_>, Vec<_>) = received
            .into_iter()
            .map(|Received { receipt, notice }| (receipt, (notice.instance, notice.kind)))
            .unzip();
        market.acknowledge(&receipts).await.unwrap();
        all.extend(told);
    }
    all
}

async fn machines(market: &MarketCloud) -> Vec<Machine> {
    market.list().await.unwrap()
}

async fn state(market: &MarketCloud, id: &InstanceId) -> MachineState {
    machines(market).await.into_iter().find(|it| it.instance == *id).unwrap().state
}

fn left(ids: &[InstanceId]) -> usize {
    processes::count(&ids.iter().cloned().collect::<BTreeSet<_>>()).unwrap()
}

async fn nothing_left(ids: &[InstanceId]) {
    until("no process is left", || (left(ids) == 0).then_some(())).await;
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn machines_are_worker_processes_that_see_themselves_only() {
    let fixture = Fixture::new();
    let market = fixture.open().await.unwrap();
    let ids = fixture.launch(&market, 2).await;
    assert_eq!(ids.len(), 2);
    // The script, its loop's sleep, a task of two processes and one of one.
    until("all are seen", || (left(&ids[..1]) == 5).then_some(())).await;

    let again = market.launch(&intent(&market, 1, 2).await).await.unwrap();
    assert_eq!(again.machines, machines_by_launch(&market, &ids).await);
    let other = market.launch(&intent(&market, 1, 3).await).await;
    assert!(matches!(other, Err(CloudError::Wrong(_))), "{other:?}");

    let arguments = fs::read_to_string(fixture.file(&ids[0], "arguments")).unwrap();
    let folder = fixture.file(&ids[0], "").display().to_string();
    let folder = folder.trim_end_matches('/');
    assert_eq!(
        arguments.trim(),
        format!(
            "worker --manager http://127.0.0.1:7878 --identity {folder}/identity.json \
             --notice-file {folder}/notice.json --data-dir {folder}"
        )
    );
    let environment = fs::read_to_string(fixture.file(&ids[0], "environment")).unwrap();
    assert!(environment.contains(&format!("EBB_MACHINE={}\n", ids[0])));
    assert!(!environment.contains("CARGO"), "{environment}");

    let document = fs::read_to_string(fixture.file(&ids[0], "identity.json")).unwrap();
    let identity = market.identify(&document).await.unwrap();
    assert_eq!((identity.instance, identity.intent), (ids[0].clone(), IntentId::from_number(1)));
    let forged = document.replace(ids[0].as_str(), ids[1].as_str());
    assert!(matches!(market.identify(&forged).await, Err(CloudError::Wrong(_))));

    assert_eq!(mode(&fixture.state()), 0o600);
    assert_eq!(mode(&fixture.file(&ids[0], "identity.json")), 0o600);
    market.shutdown(true).await.unwrap();
    assert_eq!(left(&ids), 0, "a shutdown that kills leaves nothing behind");
    assert!(matches!(market.list().await, Err(CloudError::Retry(_))));
}

async fn machines_by_launch(market: &MarketCloud, ids: &[InstanceId]) -> Vec<Machine> {
    let mut all = machines(market).await;
    all.sort_by_key(|machine| ids.iter().position(|id| *id == machine.instance));
    all
}

#[tokio::test]
async fn a_retired_machine_ends_in_order_and_whole() {
    let fixture = Fixture::new();
    let market = fixture.open().await.unwrap();
    let ids = fixture.launch(&market, 2).await;
    let unknown = InstanceId::new("i-none");
    let asked = [unknown.clone(), ids[0].clone()];
    assert_eq!(market.retire(&asked).await.unwrap(), asked);
    assert_eq!(notices(&market, 1).await, [(ids[0].clone(), NoticeKind::StateChange)]);
    assert!(fixture.file(&ids[0], "ended").exists());
    assert!(matches!(state(&market, &ids[0]).await, MachineState::Ended(_)));
    assert_eq!(state(&market, &ids[1]).await, MachineState::Running);
    nothing_left(&ids[..1]).await;
    assert!(left(&ids[1..]) > 0);
    assert_eq!(market.retire(&asked).await.unwrap(), asked, "again is no fault");
    market.shutdown(true).await.unwrap();
}

#[tokio::test]
async fn a_worker_that_ends_takes_its_machine_with_it() {
    let fixture = Fixture::new();
    let market = fixture.open().await.unwrap();
    let ids = fixture.launch(&market, 1).await;
    let waiting = tokio::spawn({
        let market = market.clone();
        async move { notices(&market, 1).await }
    });
    kill(fixture.worker(&ids[0]), Signal::SIGKILL).unwrap();
    assert_eq!(waiting.await.unwrap(), [(ids[0].clone(), NoticeKind::StateChange)]);
    assert!(matches!(state(&market, &ids[0]).await, MachineState::Ended(_)));
    nothing_left(&ids).await;
    market.shutdown(true).await.unwrap();
}

#[tokio::test]
async fn a_drill_reclaims_with_a_notice_and_kills_without() {
    let mut fixture = Fixture::new();
    fixture.weather.notice_ms = 300;
    fixture.weather.drill = Drill { notices: 1, kills: 1, busy_ms: 50, gap_ms: 10 };
    let market = fixture.open().await.unwrap();
    let launched = market.launch(&intent(&market, 1, 3).await).await.unwrap().machines;
    let ids: Vec<_> = launched.into_iter().map(|it| it.instance).collect();
    let told = notices(&market, 3).await;
    let interrupted: Vec<_> =
        told.iter().filter(|(_, kind)| *kind == NoticeKind::Interruption).collect();
    let [(noticed, _)] = interrupted[..] else { panic!("{told:?}") };
    let killed = told.iter().map(|(id, _)| id).find(|id| *id != noticed).unwrap();
    assert!(matches!(state(&market, noticed).await, MachineState::Reclaimed(_)));
    assert!(matches!(state(&market, killed).await, MachineState::Ended(_)));
    nothing_left(&[noticed.clone(), killed.clone()]).await;

    let shown = fs::read_to_string(fixture.file(noticed, "notice.json")).unwrap();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["kind"], "interruption");
    assert!((1..=300).contains(&shown["remaining_ms"].as_u64().unwrap()), "{shown}");
    assert!(!fixture.file(killed, "notice.json").exists());
    assert!(!fixture.file(noticed, "ended").exists(), "a reclaim is not a request");
    let survivor = ids.iter().find(|id| *id != noticed && *id != killed).unwrap();
    assert_eq!(state(&market, survivor).await, MachineState::Running);
    market.shutdown(true).await.unwrap();
}

#[tokio::test]
async fn machines_outlive_their_manager_and_are_adopted() {
    let fixture = Fixture::new();
    let market = fixture.open().await.unwrap();
    let ids = fixture.launch(&market, 3).await;
    let second = fixture.open().await;
    assert!(matches!(second, Err(MarketError::InUse(_))), "{second:?}");
    let document = fs::read_to_string(fixture.file(&ids[0], "identity.json")).unwrap();
    market.shutdown(false).await.unwrap();
    kill(fixture.worker(&ids[1]), Signal::SIGKILL).unwrap();
    assert!(left(&ids[..1]) > 0);

    let market = fixture.open().await.unwrap();
    assert_eq!(notices(&market, 1).await, [(ids[1].clone(), NoticeKind::StateChange)]);
    nothing_left(&ids[1..2]).await;
    assert_eq!(state(&market, &ids[0]).await, MachineState::Running);
    assert_eq!(market.identify(&document).await.unwrap().instance, ids[0]);
    let again = market.launch(&intent(&market, 1, 3).await).await.unwrap();
    assert_eq!(again.machines.len(), 3, "the same answer to the same intent");

    kill(fixture.worker(&ids[0]), Signal::SIGKILL).unwrap();
    assert_eq!(notices(&market, 1).await, [(ids[0].clone(), NoticeKind::StateChange)]);
    market.retire(&ids[2..]).await.unwrap();
    assert_eq!(notices(&market, 1).await, [(ids[2].clone(), NoticeKind::StateChange)]);
    assert!(fixture.file(&ids[2], "ended").exists());
    nothing_left(&ids).await;
    market.shutdown(true).await.unwrap();
}

#[tokio::test]
async fn a_worker_that_was_not_recorded_is_found() {
    let fixture = Fixture::new();
    let market = fixture.open().await.unwrap();
    let ids = fixture.launch(&market, 1).await;
    market.shutdown(false).await.unwrap();
    let text = fs::read(fixture.state()).unwrap();
    let mut record: serde_json::Value = serde_json::from_slice(&text).unwrap();
    record["processes"].as_object_mut().unwrap().clear();
    fs::write(fixture.state(), record.to_string()).unwrap();

    let market = fixture.open().await.unwrap();
    assert_eq!(state(&market, &ids[0]).await, MachineState::Running);
    kill(fixture.worker(&ids[0]), Signal::SIGKILL).unwrap();
    assert_eq!(notices(&market, 1).await, [(ids[0].clone(), NoticeKind::StateChange)]);
    market.shutdown(true).await.unwrap();
}

#[tokio::test]
async fn what_was_sold_is_started_once_the_manager_is_known() {
    let mut fixture = Fixture::new();
    let url = fixture.url.take();
    let market = fixture.open().await.unwrap();
    let launched = market.launch(&intent(&market, 1, 1).await).await.unwrap();
    let id = launched.machines[0].instance.clone();
    market.shutdown(false).await.unwrap();
    assert!(!fixture.file(&id, "").exists());

    let market = fixture.open().await.unwrap();
    market.point_to(&url.unwrap()).await.unwrap();
    until("the script is ready", || fixture.file(&id, "ready").exists().then_some(())).await;
    market.shutdown(true).await.unwrap();
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_told_loudly() {
    let mut fixture = Fixture::new();
    fixture.program = "/does/not/exist".into();
    let market = fixture.open().await.unwrap();
    let launched = market.launch(&intent(&market, 1, 1).await).await;
    assert!(matches!(&launched, Err(CloudError::Wrong(why)) if why.contains("/does/not/exist")));
    assert!(matches!(machines(&market).await[0].state, MachineState::Ended(_)));
    market.shutdown(true).await.unwrap();
}

#[tokio::test]
async fn the_cap_is_a_quota() {
    let fixture = Fixture::new();
    let market = fixture.open().await.unwrap();
    let launched = market.launch(&intent(&market, 1, 5).await).await.unwrap();
    assert_eq!(launched.machines.len(), 4);
    assert_eq!(launched.refusal.unwrap().scope, RefusalScope::Quota(PurchaseOption::Spot));
    market.shutdown(true).await.unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_alone() {
    let fixture = Fixture::new();
    fixture.open().await.unwrap().shutdown(false).await.unwrap();
    for damage in ["", "{}", "{\"format\":1}"] {
        fs::write(fixture.state(), damage).unwrap();
        let opened = fixture.open().await;
        assert!(matches!(opened, Err(MarketError::Unreadable { .. })), "{opened:?}");
        assert_eq!(fs::read_to_string(fixture.state()).unwrap(), damage);
    }
}

#[tokio::test]
async fn a_shared_market_is_that_of_whoever_calls_and_goes_on_with_the_next() {
    let fixture = Fixture::new();
    let (one, other) = (SharedMarket::new(fixture.config()), SharedMarket::new(fixture.config()));
    one.offers().await.unwrap();
    let own = one.list().await.unwrap();
    let refused = other.list().await;
    assert!(matches!(refused, Err(CloudError::Retry(_))), "{refused:?}");
    // The one has ended, or was not called for a while.
    one.shutdown(false).await.unwrap();
    assert_eq!(other.list().await.unwrap(), own);
    assert!(matches!(one.list().await, Err(CloudError::Retry(_))));
    other.shutdown(true).await.unwrap();
}

#[tokio::test]
async fn a_shared_market_sells_nothing_before_its_manager_serves() {
    let fixture = Fixture { url: None, ..Fixture::new() };
    let market = SharedMarket::new(fixture.config());
    assert!(matches!(market.offers().await, Err(CloudError::Retry(_))));
    market.point_to("http://127.0.0.1:7878").await;
    market.offers().await.unwrap();
}
