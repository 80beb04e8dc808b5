-- Migration 3: what removes. Only the worker's role may call these; they run with their owner's rights.

-- Whether all jobs of a day have ended.
CREATE FUNCTION momentus_ledger.has_ended(which date) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    found boolean;
BEGIN
    -- Planned with the day as a constant: only its partitions are opened.
    EXECUTE format(
        'SELECT NOT EXISTS (SELECT FROM momentus_ledger.jobs AS job WHERE job.day = %1$L AND NOT EXISTS ('
        'SELECT FROM momentus_ledger.ends AS ended WHERE ended.day = %1$L AND ended.id = job.id))', which
    ) INTO found;
    RETURN found;
END
$function$;

-- Remove all rows of a day; returns whether it did so, which it does only if all its jobs have ended.
--
-- The day's partitions are dropped as a whole. That needs a lock of the whole tables for an instant: it is waited for
-- 200 ms, in which writers wait too, and then 55P03 is raised with nothing changed; try again. Rows of a day without
-- partitions are deleted.
CREATE FUNCTION momentus_ledger.drop_day(which date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms'
AS $function$
DECLARE
    parent text;
    child text;
BEGIN
    IF which IS NULL OR which >= (now() AT TIME ZONE 'UTC')::date - 1 THEN
        RAISE EXCEPTION 'which: % is too recent; only days before yesterday can be removed', which
            USING ERRCODE = '22023';
    END IF;
    FOREACH parent IN ARRAY ARRAY['jobs', 'ends', 'effects'] LOOP
        child := parent || to_char(which, '_YYYY_MM_DD');
        IF to_regclass('momentus_ledger.' || child) IS NOT NULL THEN
            EXECUTE format('LOCK TABLE ONLY momentus_ledger.%I IN ACCESS EXCLUSIVE MODE', child);
        END IF;
    END LOOP;
    IF NOT momentus_ledger.has_ended(which) THEN
        RETURN false;
    END IF;
    FOREACH parent IN ARRAY ARRAY['jobs', 'ends', 'effects'] LOOP
        child := parent || to_char(which, '_YYYY_MM_DD');
        EXECUTE format('DELETE FROM momentus_ledger.%I WHERE day = %L', parent || '_default', which);
        IF to_regclass('momentus_ledger.' || child) IS NOT NULL THEN
            EXECUTE format('DROP TABLE momentus_ledger.%I', child);
        END IF;
    END LOOP;
    RETURN true;
END
$function$;

-- Erase a person from the record: `digest` is the SHA-256 of the address in lower case. Of each mail to it that has
-- ended, the payload becomes empty, the digest is taken off and the server's words too, which may quote the address. A
-- mail that Redis has not taken ends as cancelled, and is erased likewise. Returns how many were erased, and how many
-- were not because they are still under way: cancel these in the queue, then call it again.
CREATE FUNCTION momentus_ledger.forget(digest text, OUT erased bigint, OUT live bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s'
AS $function$
BEGIN
    IF digest IS NULL OR digest !~ '^[0-9a-f]{64}$' THEN
        RAISE EXCEPTION 'digest: must be a SHA-256, 64 hexadecimal digits in lower case' USING ERRCODE = '22023';
    END IF;
    WITH staged AS (
        DELETE FROM momentus_ledger.pending WHERE ctid = ANY (ARRAY(
            SELECT pending.ctid FROM momentus_ledger.pending
            JOIN momentus_ledger.jobs AS job USING (day, id)
            WHERE digest = ANY (job.recipients)
            FOR UPDATE OF pending SKIP LOCKED  -- what a relay hands over now is live
        )) RETURNING day, id
    )
    INSERT INTO momentus_ledger.ends (day, id, state, reply, attempt, uncertain)
    SELECT
        day, id, 'cancelled', 'erased',
        coalesce(effect.attempt, 0), effect.attempt IS NOT NULL  -- of a mail that was handed over before
    FROM staged
    LEFT JOIN LATERAL (
        SELECT max(begun.attempt) AS attempt FROM momentus_ledger.effects AS begun
        WHERE begun.id = staged.id AND begun.day = staged.day
    ) AS effect ON true
    ON CONFLICT DO NOTHING;

    SELECT count(*) INTO live FROM momentus_ledger.jobs AS job
    WHERE digest = ANY (job.recipients)
        AND NOT EXISTS (SELECT FROM momentus_ledger.ends AS ended WHERE ended.day = job.day AND ended.id = job.id);

    WITH gone AS (
        UPDATE momentus_ledger.jobs AS job SET payload = '', recipients = array_remove(job.recipients, digest)
        FROM momentus_ledger.ends AS ended
        WHERE digest = ANY (job.recipients) AND ended.day = job.day AND ended.id = job.id
        RETURNING job.day, job.id
    ), silent AS (
        UPDATE momentus_ledger.ends AS ended SET reply = '' FROM gone
        WHERE ended.day = gone.day AND ended.id = gone.id
    )
    SELECT count(*) INTO erased FROM gone;
END
$function$;

REVOKE ALL ON FUNCTION momentus_ledger.has_ended(date) FROM PUBLIC;
REVOKE ALL ON FUNCTION momentus_ledger.drop_day(date) FROM PUBLIC;
REVOKE ALL ON FUNCTION momentus_ledger.forget(text) FROM PUBLIC;
