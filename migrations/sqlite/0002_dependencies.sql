-- What a user may do to a job after its submission, what it comes after, items that were uploaded,
-- explanations that are kept, and what forgetting needs.

-- How often a user changed the job.
ALTER TABLE jobs ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
CREATE INDEX jobs_settled_at ON jobs (settled_ms, id) WHERE state = 'settled';
CREATE INDEX job_labels_job ON job_labels (job);

-- `job` comes after `dep`.
CREATE TABLE job_after (
    job INTEGER NOT NULL,
    dep INTEGER NOT NULL,
    PRIMARY KEY (job, dep)
) WITHOUT ROWID;
CREATE INDEX job_after_dep ON job_after (dep, job);

-- Bytes of documents that were ever logged, up to and with this commit.
ALTER TABLE head ADD COLUMN log_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE log ADD COLUMN total_bytes INTEGER NOT NULL DEFAULT 0;

-- Uploaded items exist when they have a row here.
CREATE TABLE items (
    key INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    count INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    used_ms INTEGER NOT NULL
);
CREATE INDEX items_used ON items (used_ms);
-- Their texts: JSON arrays, compressed. `first` is the index of the first one.
CREATE TABLE item_blocks (
    key INTEGER NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (key, first)
);
-- Blocks under these keys belong to nothing: an upload that goes on or broke, or items that are
-- being deleted.
CREATE TABLE item_uploads (
    key INTEGER PRIMARY KEY,
    begun_ms INTEGER NOT NULL
);
CREATE INDEX item_uploads_begun ON item_uploads (begun_ms);
-- Which jobs have tasks that read them.
CREATE TABLE job_items (
    job INTEGER NOT NULL,
    key INTEGER NOT NULL,
    PRIMARY KEY (job, key)
) WITHOUT ROWID;
CREATE INDEX job_items_key ON job_items (key, job);

-- Why the leader did what it did: `ordinal` is the place in its commit.
CREATE TABLE explanations (
    at_ms INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    subject TEXT NOT NULL,
    words TEXT NOT NULL,
    PRIMARY KEY (at_ms, seq, ordinal)
) WITHOUT ROWID;
CREATE INDEX explanations_subject ON explanations (subject, seq, ordinal);

-- Jobs whose row is gone already, and whose other rows go in batches.
CREATE TABLE deleted_jobs (
    id INTEGER PRIMARY KEY
);
-- What sums need of nodes whose row is gone.
CREATE TABLE forgotten (
    what TEXT PRIMARY KEY,
    amount INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX nodes_gone ON nodes (since_ms) WHERE state = 'gone';
CREATE INDEX intents_closed ON intents (since_ms) WHERE NOT is_open;
