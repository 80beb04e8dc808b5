-- Migration 1: the tables of the ledger. Run once, in the transaction of the installation.
--
-- Rows are inserted in transactions of the application, so a job costs two inserts and two index entries, and no
-- foreign key, trigger, check of contents or NOTIFY (it makes commits wait for each other). What happens to a job
-- later are rows of other tables; no row is ever updated, so nothing of a state is indexed.
--
-- A key begins with the id and not with the day: within a partition both find a row by day and id, and this one also
-- finds it by the id alone.

CREATE SCHEMA momentus_ledger;

-- The number of the latest migration; one row.
CREATE TABLE momentus_ledger.version (
    number integer NOT NULL,
    installed_at timestamptz NOT NULL DEFAULT now()
);

-- One row a job, never updated. It is removed with its partition.
CREATE TABLE momentus_ledger.jobs (
    day date NOT NULL,                          -- of staging, in UTC; the envelope has it as "l", in days since 1970
    id text NOT NULL,
    lane text NOT NULL,
    kind text NOT NULL,
    payload bytea NOT NULL,                     -- the envelope, in UTF-8, as Redis gets it
    due_at timestamptz,                         -- NULL: at once
    expires_at timestamptz,
    life_ms bigint,                             -- time to run in, counted from due_at; NULL: the policy's
    key text NOT NULL DEFAULT '',               -- SHA-256 of the caller's key, in hexadecimal
    fingerprint text NOT NULL DEFAULT '',       -- of the content that the key stands for, likewise
    window_ms bigint NOT NULL DEFAULT 0,        -- for how long the key is remembered
    limit_key text NOT NULL DEFAULT '',
    recipients text[] NOT NULL DEFAULT '{}',    -- SHA-256 of each address in lower case, in hexadecimal
    template text NOT NULL DEFAULT '',
    staged_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, day)
) PARTITION BY RANGE (day);

-- Jobs that Redis has not taken: inserted beside the job, deleted by the relay. The table stays small, so it is
-- vacuumed by its dead rows alone, at full speed, and not cut off at its end, which would need a lock that blocks
-- writers.
CREATE TABLE momentus_ledger.pending (
    id text PRIMARY KEY CHECK (octet_length(id) <= 1100),  -- what fits into the keys of the other tables, too
    day date NOT NULL
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 50000,
    autovacuum_analyze_threshold = 100000,
    autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = false
);

-- An effect that is about to begin, a mail's dot for instance: written before it, so that it survives Redis.
CREATE TABLE momentus_ledger.effects (
    day date NOT NULL,
    id text NOT NULL,
    attempt integer NOT NULL,
    note text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, attempt, day)
) PARTITION BY RANGE (day);

-- How a job ended. A job without a row here is live.
CREATE TABLE momentus_ledger.ends (
    day date NOT NULL,                          -- the job's
    id text NOT NULL,
    state text NOT NULL CHECK (state IN (
        'done', 'suppressed', 'dead', 'cancelled', 'discarded', 'expired', 'duplicate', 'quarantined'
    )),
    attempt integer NOT NULL DEFAULT 0,         -- 0: none was begun
    account text NOT NULL DEFAULT '',
    reply text NOT NULL DEFAULT '',             -- the server's last words; the reason; of a duplicate the first job's id
    uncertain boolean NOT NULL DEFAULT false,
    ended_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, day)
) PARTITION BY RANGE (day);

-- Rows of days without a partition: what is staged while no worker makes any.
CREATE TABLE momentus_ledger.jobs_default PARTITION OF momentus_ledger.jobs DEFAULT;
CREATE TABLE momentus_ledger.effects_default PARTITION OF momentus_ledger.effects DEFAULT;
CREATE TABLE momentus_ledger.ends_default PARTITION OF momentus_ledger.ends DEFAULT;

-- No envelope can name other days. What has a partition of its own pays nothing for the check.
ALTER TABLE momentus_ledger.jobs_default ADD CONSTRAINT day_is_from_1970_to_9999
    CHECK (day BETWEEN '1970-01-01' AND '9999-12-31');
ALTER TABLE momentus_ledger.effects_default ADD CONSTRAINT day_is_from_1970_to_9999
    CHECK (day BETWEEN '1970-01-01' AND '9999-12-31');
ALTER TABLE momentus_ledger.ends_default ADD CONSTRAINT day_is_from_1970_to_9999
    CHECK (day BETWEEN '1970-01-01' AND '9999-12-31');

-- Make the partitions of the days from yesterday on; returns how many tables are new. Any role that may run it does so
-- with its owner's rights.
--
-- A table is made on its own and then attached, which does not wait for writers of other partitions. It waits at most
-- 200 ms for a lock of the DEFAULT partition, and then raises 55P03 with nothing changed; the next call tries again. A
-- day of which the DEFAULT partition has rows stays there. While it has any, each new partition reads it under that lock;
-- so a call then makes those of one day alone.
CREATE FUNCTION momentus_ledger.make_partitions(ahead integer DEFAULT 7) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms'
AS $function$
DECLARE
    today CONSTANT date := (now() AT TIME ZONE 'UTC')::date;
    parent text;
    child text;
    made integer := 0;
    is_taken boolean;
    is_filled boolean;
BEGIN
    IF ahead IS NULL OR ahead NOT BETWEEN 0 AND 60 THEN
        RAISE EXCEPTION 'ahead: % days; must be between 0 and 60', ahead USING ERRCODE = '22023';
    END IF;
    IF NOT pg_try_advisory_xact_lock(hashtextextended('momentus_ledger.make_partitions', 0)) THEN
        RETURN 0;  -- another worker makes them now
    END IF;
    SELECT EXISTS (SELECT FROM momentus_ledger.jobs_default) OR EXISTS (SELECT FROM momentus_ledger.ends_default)
        OR EXISTS (SELECT FROM momentus_ledger.effects_default) INTO is_filled;
    FOR number IN -1 .. ahead LOOP
        EXIT WHEN made > 0 AND is_filled;
        FOREACH parent IN ARRAY ARRAY['jobs', 'effects', 'ends'] LOOP
            child := parent || to_char(today + number, '_YYYY_MM_DD');
            CONTINUE WHEN to_regclass('momentus_ledger.' || child) IS NOT NULL;
            EXECUTE format('SELECT EXISTS (SELECT FROM momentus_ledger.%I WHERE day = %L)',
                parent || '_default', today + number) INTO is_taken;
            CONTINUE WHEN is_taken;
            EXECUTE format('CREATE TABLE momentus_ledger.%I (LIKE momentus_ledger.%I INCLUDING ALL)', child, parent);
            EXECUTE format('ALTER TABLE momentus_ledger.%I ATTACH PARTITION momentus_ledger.%I '
                'FOR VALUES FROM (%L) TO (%L)', parent, child, today + number, today + number + 1);
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END
$function$;

REVOKE ALL ON FUNCTION momentus_ledger.make_partitions(integer) FROM PUBLIC;
