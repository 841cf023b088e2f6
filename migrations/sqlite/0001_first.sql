-- The tables of Ebbtide (DESIGN §3). Times are milliseconds since 1970, UTC; money is micro-dollars;
-- ids are the numbers inside `job_…`, `node_…`. What belongs to a user belongs to a namespace, by
-- itself or by its job.

-- One row that orders everything: each commit moves `seq`, each take-over moves `term`.
CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    term INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    now_ms INTEGER NOT NULL,
    format INTEGER NOT NULL,
    cluster INTEGER NOT NULL,
    seed INTEGER NOT NULL
);

-- Who leads, by this database's clock.
CREATE TABLE lease (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    holder TEXT NOT NULL,
    url TEXT NOT NULL,
    term INTEGER NOT NULL,
    until_ms INTEGER NOT NULL
);

-- What was committed, in commit order: a document of changes.
CREATE TABLE log (
    seq INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    changes BLOB NOT NULL
);

-- `state`: inbox (accepted, not yet seen by a leader), backlog (waits for intake), active, settled.
-- `shape` is [[group name, count], …]; `demand` is [[ask, count], …] while it is in the backlog.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    priority INTEGER NOT NULL,
    labels TEXT NOT NULL,
    spec BLOB NOT NULL,
    shape TEXT NOT NULL,
    demand TEXT,
    tasks INTEGER NOT NULL,
    state TEXT NOT NULL,
    status TEXT,
    submitted_ms INTEGER NOT NULL,
    settled_ms INTEGER,
    stopping TEXT
);
CREATE INDEX jobs_backlog ON jobs (priority DESC, id) WHERE state = 'backlog';
CREATE INDEX jobs_active ON jobs (id) WHERE state = 'active';
CREATE INDEX jobs_settled ON jobs (status, id) WHERE state = 'settled';
CREATE INDEX jobs_namespace ON jobs (namespace, id);

CREATE TABLE job_labels (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    job INTEGER NOT NULL,
    PRIMARY KEY (name, value, job)
) WITHOUT ROWID;

-- Settled sets as text, ends included: `0-99,105`. A group without a row has settled nothing.
CREATE TABLE job_groups (
    job INTEGER NOT NULL,
    grp INTEGER NOT NULL,
    succeeded TEXT NOT NULL,
    cancelled TEXT NOT NULL,
    succeeded_tasks INTEGER NOT NULL,
    cancelled_tasks INTEGER NOT NULL,
    PRIMARY KEY (job, grp)
) WITHOUT ROWID;

-- Tasks that are placed, retrying or failed; all others are numbers in sets.
CREATE TABLE tasks (
    job INTEGER NOT NULL,
    grp INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    state TEXT NOT NULL,
    until_ms INTEGER,
    node INTEGER,
    assigned_ms INTEGER,
    started_ms INTEGER,
    phase TEXT,
    deadline_ms INTEGER,
    cause TEXT,
    interrupted INTEGER NOT NULL,
    node_lost INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    timed_out INTEGER NOT NULL,
    unexplained INTEGER NOT NULL,
    PRIMARY KEY (job, grp, idx)
) WITHOUT ROWID;

-- History: attempts that have ended. `settles`: it is the one whose result counts.
CREATE TABLE attempts (
    job INTEGER NOT NULL,
    grp INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    node INTEGER NOT NULL,
    assigned_ms INTEGER NOT NULL,
    started_ms INTEGER,
    ended_ms INTEGER NOT NULL,
    run_ms INTEGER NOT NULL,
    ended_as TEXT NOT NULL,
    exit_code INTEGER,
    signal INTEGER,
    settles INTEGER NOT NULL,
    message TEXT,
    stdout_bytes INTEGER NOT NULL,
    stdout BLOB,
    stderr_bytes INTEGER NOT NULL,
    stderr BLOB,
    outputs TEXT,
    PRIMARY KEY (job, grp, idx, attempt)
) WITHOUT ROWID;

CREATE TABLE nodes (
    id INTEGER PRIMARY KEY,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    launched_ms INTEGER NOT NULL,
    joined_ms INTEGER,
    session INTEGER,
    deadline_ms INTEGER,
    booked_micro_usd INTEGER NOT NULL,
    cpu_millis INTEGER NOT NULL,
    memory_mib INTEGER NOT NULL,
    disk_mib INTEGER NOT NULL,
    gpus INTEGER NOT NULL,
    origin TEXT NOT NULL
);
CREATE INDEX nodes_present ON nodes (id) WHERE state <> 'gone';

CREATE TABLE intents (
    id INTEGER PRIMARY KEY,
    is_open INTEGER NOT NULL,
    request TEXT NOT NULL,
    state TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    opened_ms INTEGER NOT NULL,
    born INTEGER NOT NULL
);
CREATE INDEX intents_open ON intents (id) WHERE is_open;

-- Notices for instances that have no node yet.
CREATE TABLE notices (
    instance TEXT NOT NULL,
    kind TEXT NOT NULL,
    deadline_ms INTEGER NOT NULL,
    PRIMARY KEY (instance, kind)
) WITHOUT ROWID;

-- Money spent, append-only.
CREATE TABLE ledger (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    node INTEGER NOT NULL,
    job INTEGER,
    grp INTEGER,
    idx INTEGER,
    kind TEXT NOT NULL,
    from_ms INTEGER NOT NULL,
    to_ms INTEGER NOT NULL,
    micro_usd INTEGER NOT NULL
);
CREATE INDEX ledger_job ON ledger (job, micro_usd) WHERE job IS NOT NULL;
-- The sums of the ledger, kept in the same commit.
CREATE TABLE ledger_sums (
    kind TEXT PRIMARY KEY,
    micro_usd INTEGER NOT NULL
) WITHOUT ROWID;

-- What replicas hand to the leader.
CREATE TABLE inbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    job INTEGER NOT NULL,
    grp INTEGER,
    idx INTEGER,
    at_ms INTEGER NOT NULL
);

-- Answers to requests that bore an Idempotency-Key.
CREATE TABLE idempotency (
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    hash TEXT NOT NULL,
    answer TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (namespace, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_age ON idempotency (at_ms);

-- SHA-256 of each token, in hex; never the token.
CREATE TABLE tokens (
    hash TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    node INTEGER,
    uses_left INTEGER,
    expires_ms INTEGER,
    created_ms INTEGER NOT NULL
) WITHOUT ROWID;
