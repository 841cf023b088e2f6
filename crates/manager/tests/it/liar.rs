//! A digester that lies, over real HTTP: each lie is refused or has no effect, has words of its own
//! in the log, and the work of others goes on.

use std::sync::{Arc, Mutex, PoisonError};

use api::client::Client;
use api::problem::ProblemKind;
use api::sync::SyncRequest;
use model::{AttemptId, InventoryItem, JobStatus, TaskStatus, Transition};
use tracing_subscriber::fmt::MakeWriter;

use crate::scene::{Digester, Scene, ended, job, problem};

/// Log lines.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Takes what all threads of this process log; each test is a process of its own.
    fn begin() -> Self {
        let log = Self::default();
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(log.clone())
            .init();
        log
    }

    /// Lines of at least `WARN` since the last look.
    fn warnings(&self) -> Vec<String> {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = std::mem::take(&mut *text);
        let lines = String::from_utf8_lossy(&text).into_owned();
        lines.lines().filter(|line| line.contains(" WARN ")).map(str::to_owned).collect()
    }

    /// One warning, with these words.
    fn warned(&self, words: &str) {
        let warnings = self.warnings();
        assert_eq!(warnings.len(), 1, "{words}: {warnings:?}");
        assert!(warnings[0].contains(words), "{words}: {warnings:?}");
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// An honest node that runs one task, and a liar that runs another.
struct Lies {
    scene: Scene,
    honest: Digester,
    theirs: AttemptId,
    liar: Digester,
    mine: AttemptId,
}

impl Lies {
    async fn begin() -> Self {
        let scene = Scene::new().await;
        let mut honest = scene.node("honest").await;
        honest.poll(Vec::new()).await;
        scene.user.submit(&job(1), None).await.expect("accepted");
        let theirs = honest.work().await[0];
        honest.start(&[theirs]).await;
        let mut liar = scene.node("liar").await;
        liar.poll(Vec::new()).await;
        // All of the honest one is taken: the second task is the liar's.
        let mut large = job(1);
        large["group"][0]["resources"]["cpu"] = "4".into();
        scene.user.submit(&large, None).await.expect("accepted");
        let mine = liar.work().await[0];
        liar.start(&[mine]).await;
        Self { scene, honest, theirs, liar, mine }
    }

    /// The honest node's work goes on, and so does the liar's as long as it says what is so.
    async fn end(mut self) {
        for attempt in [self.theirs, self.mine] {
            let task = self.scene.user.task(attempt.task).await.expect("it is there");
            assert_eq!((task.status, task.attempt), (TaskStatus::Running, 1), "{attempt}");
        }
        self.honest.succeed(&[self.theirs]).await;
        self.liar.succeed(&[self.mine]).await;
        for attempt in [self.theirs, self.mine] {
            let job = self.scene.user.job(attempt.task.job).await.expect("it is there");
            assert_eq!(job.job.status, JobStatus::Succeeded);
        }
        self.scene.manager.shutdown().await;
    }

    async fn sync(&self, request: &SyncRequest) -> Result<api::sync::SyncAnswer, ProblemKind> {
        let answer = self.liar.client.sync(self.liar.node, request).await;
        answer.map_err(|fault| fault.problem().expect("a problem").kind)
    }
}

#[tokio::test]
async fn reports_of_what_is_not_ones_own_are_void() {
    let log = Log::begin();
    let mut lies = Lies::begin().await;
    assert_eq!(log.warnings(), Vec::<String>::new());
    let (theirs, mine) = (lies.theirs, lies.mine);
    let nobody = model::TaskId { index: 999, ..mine.task };
    let no_group = model::TaskId { group: 7, ..mine.task };
    for (lie, words) in [
        (theirs, "another node's attempt"),
        (mine.task.attempt(2), "a number that was never given"),
        (theirs.task.attempt(u32::MAX), "a number that was never given"),
        (nobody.attempt(1), "no such task"),
        (no_group.attempt(1), "no such task"),
    ] {
        let before = lies.liar.poll(vec![ended(lie, 0, "a lie")]).await;
        log.warned(words);
        // They are acknowledged: void is as good as durable, and needs no second telling.
        assert!(before.acked_offset > 0);
        lies.liar.start(&[lie]).await;
        log.warned(words);
    }
    // What may have been so once is no lie.
    let unknown: AttemptId = "job_0000000000001.0.0.1".parse().expect("an attempt");
    lies.liar.poll(vec![ended(unknown, 0, "")]).await;
    assert_eq!(log.warnings(), Vec::<String>::new());
    lies.end().await;
}

#[tokio::test]
async fn an_inventory_of_others_work_is_told_to_stop_and_moves_nothing() {
    let _log = Log::begin();
    let mut lies = Lies::begin().await;
    let item = |attempt| InventoryItem { attempt, started: true };
    let mut request = lies.liar.request(Vec::new());
    request.inventory = Some(vec![item(lies.mine), item(lies.theirs)]);
    let answer = lies.sync(&request).await.expect("an answer");
    assert_eq!(answer.cancel, [lies.theirs]);
    lies.end().await;
}

#[tokio::test]
async fn offsets_sessions_and_terms_that_cannot_be_are_refused() {
    let log = Log::begin();
    let mut lies = Lies::begin().await;
    let lie = vec![ended(lies.mine, 1, "from the future")];
    let honest = lies.liar.request(lie);
    let other = |change: fn(&mut SyncRequest)| {
        let mut request = honest.clone();
        change(&mut request);
        request
    };
    for (request, kind, words) in [
        (other(|it| it.spool_offset += 1), ProblemKind::Invalid, "spool-gap"),
        (other(|it| it.spool_offset = u64::MAX), ProblemKind::Invalid, "spool-gap"),
        (other(|it| it.session += 1), ProblemKind::Conflict, "other-session"),
        (other(|it| it.term_seen += 1), ProblemKind::NotLeader, "term-ahead"),
    ] {
        let client = lies.liar.client.clone().with_patience(std::time::Duration::ZERO);
        let answer = client.sync(lies.liar.node, &request).await;
        assert_eq!(problem(answer), kind, "{words}");
        log.warned(words);
    }
    let many = vec![Transition::Started { attempt: lies.mine }; 2_001];
    let request = SyncRequest { transitions: many, ..honest.clone() };
    assert_eq!(lies.sync(&request).await.expect_err("too many"), ProblemKind::Invalid);
    log.warned("too-many-transitions");
    lies.end().await;
}

#[tokio::test]
async fn a_poll_that_is_sent_again_changes_nothing() {
    let log = Log::begin();
    let mut lies = Lies::begin().await;
    let first = lies.liar.request(vec![Transition::Started { attempt: lies.mine }]);
    lies.sync(&first).await.expect("an answer");
    let acked = lies.liar.poll(vec![Transition::Started { attempt: lies.mine }]).await.acked_offset;
    // An older poll, as it was: it must not be answered (ADR 10), and no offset goes back.
    assert_eq!(lies.sync(&first).await.expect_err("no answer"), ProblemKind::Overloaded);
    assert_eq!(lies.liar.poll(Vec::new()).await.acked_offset, acked);
    assert_eq!(log.warnings(), Vec::<String>::new());
    lies.end().await;
}

#[tokio::test]
async fn another_nodes_token_opens_nothing() {
    let log = Log::begin();
    let mut lies = Lies::begin().await;
    let request = lies.liar.request(vec![ended(lies.theirs, 0, "a lie")]);
    // The liar's token, the honest node's place.
    let answer = lies.liar.client.sync(lies.honest.node, &request).await;
    assert_eq!(problem(answer), ProblemKind::Forbidden);
    log.warned("other-nodes-token");
    // And nothing that users do.
    let url = lies.scene.manager.url();
    let as_user = Client::new(url, &lies.liar.token).expect("a client");
    assert_eq!(problem(as_user.cost().await), ProblemKind::Forbidden);
    assert_eq!(problem(as_user.stop_job(lies.theirs.task.job).await), ProblemKind::Forbidden);
    // What others' attempts write is not for it to send.
    let (attempt, node) = (lies.theirs, lies.liar.node);
    let place = format!("{url}/v1/nodes/{node}/tail?attempt={attempt}&stream=stdout&offset=0");
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request_of = |token: &str| http.post(&place).bearer_auth(token.to_owned()).body("a lie");
    let answer = request_of(&lies.liar.token).send().await.expect("sent");
    assert_eq!(answer.status(), 404);
    let answer = request_of(&lies.honest.token).send().await.expect("sent");
    assert_eq!(answer.status(), 403);
    // A user's token is no node's.
    let answer = lies.scene.user.sync(lies.liar.node, &request).await;
    assert_eq!(problem(answer), ProblemKind::Forbidden);
    lies.end().await;
}

#[tokio::test]
async fn a_poll_of_ten_mebibytes_is_refused() {
    let _log = Log::begin();
    let mut lies = Lies::begin().await;
    let huge = "x".repeat(10 << 20);
    let request = lies.liar.request(vec![ended(lies.mine, 0, &huge)]);
    assert_eq!(lies.sync(&request).await.expect_err("too large"), ProblemKind::TooLarge);
    lies.end().await;
}
