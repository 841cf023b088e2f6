-- The tables of Ebbtide (DESIGN §3). Times are milliseconds since 1970, UTC; money is micro-dollars;
-- ids are the numbers inside `job_…`, `node_…`. What belongs to a user belongs to a namespace, by
-- itself or by its job.

-- One row that orders everything: each commit moves `seq`, each take-over moves `term`.
CREATE TABLE head (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    term BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    now_ms BIGINT NOT NULL,
    format BIGINT NOT NULL,
    cluster BIGINT NOT NULL,
    seed BIGINT NOT NULL
) WITH (fillfactor = 10);

-- Who leads, by this database's clock.
CREATE TABLE lease (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    holder TEXT NOT NULL,
    url TEXT NOT NULL,
    term BIGINT NOT NULL,
    until_ms BIGINT NOT NULL
) WITH (fillfactor = 10);

-- What was committed, in commit order: a document of changes.
CREATE TABLE log (
    seq BIGINT PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    changes BYTEA NOT NULL
);
-- Documents are compressed before they arrive.
ALTER TABLE log ALTER COLUMN changes SET STORAGE EXTERNAL;

-- `state`: inbox (accepted, not yet seen by a leader), backlog (waits for intake), active, settled.
-- `shape` is [[group name, count], …]; `demand` is [[ask, count], …] while it is in the backlog.
CREATE TABLE jobs (
    id BIGINT PRIMARY KEY,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    priority BIGINT NOT NULL,
    labels TEXT NOT NULL,
    spec BYTEA NOT NULL,
    shape TEXT NOT NULL,
    demand TEXT,
    tasks BIGINT NOT NULL,
    state TEXT NOT NULL,
    status TEXT,
    submitted_ms BIGINT NOT NULL,
    settled_ms BIGINT,
    stopping TEXT
);
ALTER TABLE jobs ALTER COLUMN spec SET STORAGE EXTERNAL;
CREATE INDEX jobs_backlog ON jobs (priority DESC, id) WHERE state = 'backlog';
CREATE INDEX jobs_active ON jobs (id) WHERE state = 'active';
CREATE INDEX jobs_settled ON jobs (status, id) WHERE state = 'settled';
CREATE INDEX jobs_namespace ON jobs (namespace, id);

CREATE TABLE job_labels (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    job BIGINT NOT NULL,
    PRIMARY KEY (name, value, job)
);

-- Settled sets as text, ends included: `0-99,105`. A group without a row has settled nothing.
CREATE TABLE job_groups (
    job BIGINT NOT NULL,
    grp BIGINT NOT NULL,
    succeeded TEXT NOT NULL,
    cancelled TEXT NOT NULL,
    succeeded_tasks BIGINT NOT NULL,
    cancelled_tasks BIGINT NOT NULL,
    PRIMARY KEY (job, grp)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

-- Tasks that are placed, retrying or failed; all others are numbers in sets.
CREATE TABLE tasks (
    job BIGINT NOT NULL,
    grp BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    state TEXT NOT NULL,
    until_ms BIGINT,
    node BIGINT,
    assigned_ms BIGINT,
    started_ms BIGINT,
    phase TEXT,
    deadline_ms BIGINT,
    cause TEXT,
    interrupted BIGINT NOT NULL,
    node_lost BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    timed_out BIGINT NOT NULL,
    unexplained BIGINT NOT NULL,
    PRIMARY KEY (job, grp, idx)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

-- History: attempts that have ended. `settles`: it is the one whose result counts.
CREATE TABLE attempts (
    job BIGINT NOT NULL,
    grp BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    node BIGINT NOT NULL,
    assigned_ms BIGINT NOT NULL,
    started_ms BIGINT,
    ended_ms BIGINT NOT NULL,
    run_ms BIGINT NOT NULL,
    ended_as TEXT NOT NULL,
    exit_code BIGINT,
    signal BIGINT,
    settles BOOLEAN NOT NULL,
    message TEXT,
    stdout_bytes BIGINT NOT NULL,
    stdout BYTEA,
    stderr_bytes BIGINT NOT NULL,
    stderr BYTEA,
    outputs TEXT,
    PRIMARY KEY (job, grp, idx, attempt)
);

CREATE TABLE nodes (
    id BIGINT PRIMARY KEY,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    since_ms BIGINT NOT NULL,
    launched_ms BIGINT NOT NULL,
    joined_ms BIGINT,
    session BIGINT,
    deadline_ms BIGINT,
    booked_micro_usd BIGINT NOT NULL,
    cpu_millis BIGINT NOT NULL,
    memory_mib BIGINT NOT NULL,
    disk_mib BIGINT NOT NULL,
    gpus BIGINT NOT NULL,
    origin TEXT NOT NULL
);
CREATE INDEX nodes_present ON nodes (id) WHERE state <> 'gone';

CREATE TABLE intents (
    id BIGINT PRIMARY KEY,
    is_open BOOLEAN NOT NULL,
    request TEXT NOT NULL,
    state TEXT NOT NULL,
    since_ms BIGINT NOT NULL,
    opened_ms BIGINT NOT NULL,
    born BIGINT NOT NULL
);
CREATE INDEX intents_open ON intents (id) WHERE is_open;

-- Notices for instances that have no node yet.
CREATE TABLE notices (
    instance TEXT NOT NULL,
    kind TEXT NOT NULL,
    deadline_ms BIGINT NOT NULL,
    PRIMARY KEY (instance, kind)
);

-- Money spent, append-only.
CREATE TABLE ledger (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node BIGINT NOT NULL,
    job BIGINT,
    grp BIGINT,
    idx BIGINT,
    kind TEXT NOT NULL,
    from_ms BIGINT NOT NULL,
    to_ms BIGINT NOT NULL,
    micro_usd BIGINT NOT NULL
);
CREATE INDEX ledger_job ON ledger (job, micro_usd) WHERE job IS NOT NULL;
-- The sums of the ledger, kept in the same commit.
CREATE TABLE ledger_sums (
    kind TEXT PRIMARY KEY,
    micro_usd BIGINT NOT NULL
) WITH (fillfactor = 10);

-- What replicas hand to the leader.
CREATE TABLE inbox (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind TEXT NOT NULL,
    job BIGINT NOT NULL,
    grp BIGINT,
    idx BIGINT,
    at_ms BIGINT NOT NULL
);

-- Answers to requests that bore an Idempotency-Key.
CREATE TABLE idempotency (
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    hash TEXT NOT NULL,
    answer TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (namespace, key)
);
CREATE INDEX idempotency_age ON idempotency (at_ms);

-- SHA-256 of each token, in hex; never the token.
CREATE TABLE tokens (
    hash TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    node BIGINT,
    uses_left BIGINT,
    expires_ms BIGINT,
    created_ms BIGINT NOT NULL
);
