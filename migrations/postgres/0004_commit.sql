-- One commit is one call of this function, as before; the one with fewer parameters is the version
-- before's, which may still lead.
CREATE FUNCTION ebb_commit(
    p_term BIGINT, p_prev BIGINT, p_seq BIGINT, p_now_ms BIGINT, p_log BYTEA,
    -- jobs
    j_id BIGINT[], j_namespace TEXT[], j_name TEXT[], j_priority BIGINT[], j_labels TEXT[],
    j_spec BYTEA[], j_shape TEXT[], j_demand TEXT[], j_tasks BIGINT[], j_state TEXT[],
    j_status TEXT[], j_submitted_ms BIGINT[], j_settled_ms BIGINT[], j_stopping TEXT[],
    -- job_groups
    g_job BIGINT[], g_grp BIGINT[], g_succeeded TEXT[], g_cancelled TEXT[],
    g_succeeded_tasks BIGINT[], g_cancelled_tasks BIGINT[],
    -- tasks
    t_job BIGINT[], t_grp BIGINT[], t_idx BIGINT[], t_attempt BIGINT[], t_state TEXT[],
    t_until_ms BIGINT[], t_node BIGINT[], t_assigned_ms BIGINT[], t_started_ms BIGINT[],
    t_phase TEXT[], t_deadline_ms BIGINT[], t_cause TEXT[], t_interrupted BIGINT[],
    t_node_lost BIGINT[], t_failed BIGINT[], t_timed_out BIGINT[], t_unexplained BIGINT[],
    -- tasks whose entry ends
    d_job BIGINT[], d_grp BIGINT[], d_idx BIGINT[],
    -- attempts
    a_job BIGINT[], a_grp BIGINT[], a_idx BIGINT[], a_attempt BIGINT[], a_node BIGINT[],
    a_assigned_ms BIGINT[], a_started_ms BIGINT[], a_ended_ms BIGINT[], a_run_ms BIGINT[],
    a_ended_as TEXT[], a_exit_code BIGINT[], a_signal BIGINT[], a_settles BOOLEAN[],
    a_message TEXT[], a_stdout_bytes BIGINT[], a_stdout BYTEA[], a_stderr_bytes BIGINT[],
    a_stderr BYTEA[], a_outputs TEXT[],
    -- ledger
    l_node BIGINT[], l_job BIGINT[], l_grp BIGINT[], l_idx BIGINT[], l_kind TEXT[],
    l_from_ms BIGINT[], l_to_ms BIGINT[], l_micro_usd BIGINT[],
    -- jobs that a user changed
    x_id BIGINT[], x_name TEXT[], x_priority BIGINT[], x_labels TEXT[], x_spec BYTEA[],
    x_times BIGINT[],
    -- the rest
    p_job_states JSON, p_labels JSON, p_sums JSON, p_nodes JSON, p_intents JSON, p_notices JSON,
    p_notices_done JSON, p_keys JSON, p_retried JSON, p_unsettled JSON, p_after JSON,
    p_items JSON, p_explanations JSON, p_inbox_done BIGINT[]
) RETURNS BOOLEAN
LANGUAGE plpgsql
-- The same plan whatever statistics say: from the few rows given into the keys of the tables.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    written BIGINT;
    logged BIGINT;
BEGIN
    UPDATE head SET seq = p_seq, now_ms = p_now_ms, log_bytes = log_bytes + octet_length(p_log)
        WHERE one = 1 AND term = p_term AND seq = p_prev
        RETURNING log_bytes INTO logged;
    IF NOT FOUND THEN
        RETURN FALSE;
    END IF;
    INSERT INTO log (seq, at_ms, changes, total_bytes)
        VALUES (p_seq, p_now_ms, p_log, logged);
    IF cardinality(j_id) > 0 THEN
        INSERT INTO jobs AS j (id, namespace, name, priority, labels, spec, shape, demand, tasks,
                state, status, submitted_ms, settled_ms, stopping)
            SELECT * FROM unnest(j_id, j_namespace, j_name, j_priority, j_labels, j_spec, j_shape,
                j_demand, j_tasks, j_state, j_status, j_submitted_ms, j_settled_ms, j_stopping)
            ON CONFLICT (id) DO UPDATE SET demand = excluded.demand, state = excluded.state,
                status = excluded.status, settled_ms = excluded.settled_ms,
                stopping = excluded.stopping
                WHERE j.state = 'inbox';
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written <> cardinality(j_id) THEN
            RAISE unique_violation USING MESSAGE = 'a job id is taken';
        END IF;
    END IF;
    IF cardinality(g_job) > 0 THEN
        INSERT INTO job_groups (job, grp, succeeded, cancelled, succeeded_tasks, cancelled_tasks)
            SELECT * FROM unnest(g_job, g_grp, g_succeeded, g_cancelled, g_succeeded_tasks,
                g_cancelled_tasks)
            ON CONFLICT (job, grp) DO UPDATE SET succeeded = excluded.succeeded,
                cancelled = excluded.cancelled, succeeded_tasks = excluded.succeeded_tasks,
                cancelled_tasks = excluded.cancelled_tasks;
    END IF;
    IF p_retried IS NOT NULL THEN
        DELETE FROM tasks t USING json_to_recordset(p_retried) AS u (id BIGINT)
            WHERE t.job = u.id;
    END IF;
    IF cardinality(t_job) > 0 THEN
        INSERT INTO tasks (job, grp, idx, attempt, state, until_ms, node, assigned_ms, started_ms,
                phase, deadline_ms, cause, interrupted, node_lost, failed, timed_out, unexplained)
            SELECT * FROM unnest(t_job, t_grp, t_idx, t_attempt, t_state, t_until_ms, t_node,
                t_assigned_ms, t_started_ms, t_phase, t_deadline_ms, t_cause, t_interrupted,
                t_node_lost, t_failed, t_timed_out, t_unexplained)
            ON CONFLICT (job, grp, idx) DO UPDATE SET attempt = excluded.attempt,
                state = excluded.state, until_ms = excluded.until_ms, node = excluded.node,
                assigned_ms = excluded.assigned_ms, started_ms = excluded.started_ms,
                phase = excluded.phase, deadline_ms = excluded.deadline_ms,
                cause = excluded.cause, interrupted = excluded.interrupted,
                node_lost = excluded.node_lost, failed = excluded.failed,
                timed_out = excluded.timed_out, unexplained = excluded.unexplained;
    END IF;
    IF cardinality(d_job) > 0 THEN
        DELETE FROM tasks t USING unnest(d_job, d_grp, d_idx) AS d (job, grp, idx)
            WHERE t.job = d.job AND t.grp = d.grp AND t.idx = d.idx;
    END IF;
    IF cardinality(a_job) > 0 THEN
        INSERT INTO attempts (job, grp, idx, attempt, node, assigned_ms, started_ms, ended_ms,
                run_ms, ended_as, exit_code, signal, settles, message, stdout_bytes, stdout,
                stderr_bytes, stderr, outputs)
            SELECT * FROM unnest(a_job, a_grp, a_idx, a_attempt, a_node, a_assigned_ms,
                a_started_ms, a_ended_ms, a_run_ms, a_ended_as, a_exit_code, a_signal, a_settles,
                a_message, a_stdout_bytes, a_stdout, a_stderr_bytes, a_stderr, a_outputs);
    END IF;
    IF cardinality(l_node) > 0 THEN
        INSERT INTO ledger (node, job, grp, idx, kind, from_ms, to_ms, micro_usd)
            SELECT * FROM unnest(l_node, l_job, l_grp, l_idx, l_kind, l_from_ms, l_to_ms,
                l_micro_usd);
    END IF;
    IF p_unsettled IS NOT NULL THEN
        UPDATE attempts a SET settles = FALSE
            FROM json_to_recordset(p_unsettled)
                AS u (job BIGINT, grp BIGINT, idx BIGINT, attempt BIGINT)
            WHERE a.job = u.job AND a.grp = u.grp AND a.idx = u.idx AND a.attempt <= u.attempt
                AND a.settles;
    END IF;
    IF p_retried IS NOT NULL THEN
        UPDATE jobs SET state = u.state, status = u.status, settled_ms = u.settled_ms,
                stopping = u.stopping
            FROM json_to_recordset(p_retried)
                AS u (id BIGINT, state TEXT, status TEXT, settled_ms BIGINT, stopping TEXT)
            WHERE jobs.id = u.id;
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written <> json_array_length(p_retried) THEN
            RAISE no_data_found USING MESSAGE = 'a job that is retried is not there';
        END IF;
    END IF;
    IF p_job_states IS NOT NULL THEN
        UPDATE jobs SET state = u.state, status = u.status, settled_ms = u.settled_ms,
                stopping = COALESCE(u.stopping, jobs.stopping), demand = NULL
            FROM json_to_recordset(p_job_states)
                AS u (id BIGINT, state TEXT, status TEXT, settled_ms BIGINT, stopping TEXT)
            WHERE jobs.id = u.id;
    END IF;
    IF cardinality(x_id) > 0 THEN
        UPDATE jobs SET name = u.name, priority = u.priority, labels = u.labels, spec = u.spec,
                revision = jobs.revision + u.times
            FROM unnest(x_id, x_name, x_priority, x_labels, x_spec, x_times)
                AS u (id, name, priority, labels, spec, times)
            WHERE jobs.id = u.id;
        DELETE FROM job_labels WHERE job = ANY (x_id);
        DELETE FROM job_after WHERE job = ANY (x_id);
    END IF;
    IF p_labels IS NOT NULL THEN
        INSERT INTO job_labels (name, value, job)
            SELECT name, value, job
            FROM json_to_recordset(p_labels) AS u (name TEXT, value TEXT, job BIGINT)
            ON CONFLICT DO NOTHING;
    END IF;
    IF p_after IS NOT NULL THEN
        INSERT INTO job_after (job, dep)
            SELECT job, dep FROM json_to_recordset(p_after) AS u (job BIGINT, dep BIGINT)
            ON CONFLICT DO NOTHING;
    END IF;
    IF p_items IS NOT NULL THEN
        INSERT INTO job_items (job, key)
            SELECT job, key FROM json_to_recordset(p_items) AS u (job BIGINT, key BIGINT)
            ON CONFLICT DO NOTHING;
    END IF;
    IF p_sums IS NOT NULL THEN
        INSERT INTO ledger_sums AS s (kind, micro_usd)
            SELECT kind, micro_usd FROM json_to_recordset(p_sums) AS u (kind TEXT, micro_usd BIGINT)
            ON CONFLICT (kind) DO UPDATE SET micro_usd = s.micro_usd + excluded.micro_usd;
    END IF;
    IF p_nodes IS NOT NULL THEN
        INSERT INTO nodes (id, state, reason, since_ms, launched_ms, joined_ms, session,
                deadline_ms, booked_micro_usd, cpu_millis, memory_mib, disk_mib, gpus, origin)
            SELECT * FROM json_to_recordset(p_nodes) AS u (id BIGINT, state TEXT, reason TEXT,
                since_ms BIGINT, launched_ms BIGINT, joined_ms BIGINT, session BIGINT,
                deadline_ms BIGINT, booked_micro_usd BIGINT, cpu_millis BIGINT, memory_mib BIGINT,
                disk_mib BIGINT, gpus BIGINT, origin TEXT)
            ON CONFLICT (id) DO UPDATE SET state = excluded.state, reason = excluded.reason,
                since_ms = excluded.since_ms, launched_ms = excluded.launched_ms,
                joined_ms = excluded.joined_ms, session = excluded.session,
                deadline_ms = excluded.deadline_ms, booked_micro_usd = excluded.booked_micro_usd,
                cpu_millis = excluded.cpu_millis, memory_mib = excluded.memory_mib,
                disk_mib = excluded.disk_mib, gpus = excluded.gpus, origin = excluded.origin;
    END IF;
    IF p_intents IS NOT NULL THEN
        INSERT INTO intents (id, is_open, request, state, since_ms, opened_ms, born)
            SELECT * FROM json_to_recordset(p_intents) AS u (id BIGINT, is_open BOOLEAN,
                request TEXT, state TEXT, since_ms BIGINT, opened_ms BIGINT, born BIGINT)
            ON CONFLICT (id) DO UPDATE SET is_open = excluded.is_open, request = excluded.request,
                state = excluded.state, since_ms = excluded.since_ms,
                opened_ms = excluded.opened_ms, born = excluded.born;
    END IF;
    IF p_notices IS NOT NULL THEN
        INSERT INTO notices (instance, kind, deadline_ms)
            SELECT * FROM json_to_recordset(p_notices)
                AS u (instance TEXT, kind TEXT, deadline_ms BIGINT)
            ON CONFLICT (instance, kind) DO UPDATE SET deadline_ms = excluded.deadline_ms;
    END IF;
    IF p_notices_done IS NOT NULL THEN
        DELETE FROM notices n
            USING json_to_recordset(p_notices_done) AS u (instance TEXT, kind TEXT)
            WHERE n.instance = u.instance AND n.kind = u.kind;
    END IF;
    IF p_keys IS NOT NULL THEN
        INSERT INTO idempotency (namespace, key, hash, answer, at_ms)
            SELECT * FROM json_to_recordset(p_keys)
                AS u (namespace TEXT, key TEXT, hash TEXT, answer TEXT, at_ms BIGINT)
            ON CONFLICT DO NOTHING;
    END IF;
    IF p_explanations IS NOT NULL THEN
        INSERT INTO explanations (at_ms, seq, ordinal, subject, words)
            SELECT at_ms, seq, ordinal, subject, words FROM json_to_recordset(p_explanations)
                AS u (at_ms BIGINT, seq BIGINT, ordinal BIGINT, subject TEXT, words TEXT);
    END IF;
    IF cardinality(p_inbox_done) > 0 THEN
        DELETE FROM inbox WHERE number = ANY (p_inbox_done);
    END IF;
    RETURN TRUE;
END
$$;

-- What a replica posts, as before; nothing when the inbox has `p_most` rows already. Rows leave it in
-- about the order of their numbers: while their span is short, nothing need be counted.
CREATE FUNCTION ebb_post(
    j_id BIGINT[], j_namespace TEXT[], j_name TEXT[], j_priority BIGINT[], j_labels TEXT[],
    j_spec BYTEA[], j_shape TEXT[], j_demand TEXT[], j_tasks BIGINT[], j_state TEXT[],
    j_status TEXT[], j_submitted_ms BIGINT[], j_settled_ms BIGINT[], j_stopping TEXT[],
    p_labels JSON, p_inbox JSON, p_after JSON, p_items JSON, p_most BIGINT,
    p_namespace TEXT, p_key TEXT, p_hash TEXT, p_answer TEXT, p_at_ms BIGINT, p_oldest_ms BIGINT,
    OUT kept_hash TEXT, OUT kept_answer TEXT, OUT is_full BOOLEAN
)
LANGUAGE plpgsql
AS $$
BEGIN
    is_full := COALESCE((SELECT MAX(number) - MIN(number) + 1 FROM inbox), 0) >= p_most
        AND (SELECT COUNT(*) FROM (SELECT 1 FROM inbox LIMIT p_most) AS i) >= p_most;
    IF is_full THEN
        SELECT i.hash, i.answer INTO kept_hash, kept_answer FROM idempotency i
            WHERE i.namespace = p_namespace AND i.key = p_key AND i.at_ms >= p_oldest_ms;
        RETURN;
    END IF;
    IF p_key IS NOT NULL THEN
        INSERT INTO idempotency AS i (namespace, key, hash, answer, at_ms)
            VALUES (p_namespace, p_key, p_hash, p_answer, p_at_ms)
            ON CONFLICT (namespace, key) DO UPDATE SET hash = excluded.hash,
                answer = excluded.answer, at_ms = excluded.at_ms
                WHERE i.at_ms < p_oldest_ms;
        IF NOT FOUND THEN
            SELECT i.hash, i.answer INTO kept_hash, kept_answer
                FROM idempotency i WHERE i.namespace = p_namespace AND i.key = p_key;
            RETURN;
        END IF;
    END IF;
    INSERT INTO jobs (id, namespace, name, priority, labels, spec, shape, demand, tasks, state,
            status, submitted_ms, settled_ms, stopping)
        SELECT * FROM unnest(j_id, j_namespace, j_name, j_priority, j_labels, j_spec, j_shape,
            j_demand, j_tasks, j_state, j_status, j_submitted_ms, j_settled_ms, j_stopping);
    INSERT INTO job_labels (name, value, job)
        SELECT name, value, job
        FROM json_to_recordset(p_labels) AS u (name TEXT, value TEXT, job BIGINT)
        ON CONFLICT DO NOTHING;
    IF p_after IS NOT NULL THEN
        INSERT INTO job_after (job, dep)
            SELECT job, dep FROM json_to_recordset(p_after) AS u (job BIGINT, dep BIGINT)
            ON CONFLICT DO NOTHING;
    END IF;
    IF p_items IS NOT NULL THEN
        INSERT INTO job_items (job, key)
            SELECT job, key FROM json_to_recordset(p_items) AS u (job BIGINT, key BIGINT)
            ON CONFLICT DO NOTHING;
    END IF;
    INSERT INTO inbox (kind, job, grp, idx, at_ms)
        SELECT kind, job, grp, idx, at_ms
        FROM json_to_recordset(p_inbox)
            AS u (kind TEXT, job BIGINT, grp BIGINT, idx BIGINT, at_ms BIGINT);
END
$$;
