-- Tables and function that mark changed reports. The schema's owner runs it, any number of times, in one transaction.
--
-- Parameters: none; the triggers of the tenant follow this script.
-- Invariant: a mark is written by the transaction that changes the rows, so it is visible if and only if they are,
-- and no writer ever waits for another: marks are rows of their own, without a key that two could share.
-- There is no NOTIFY: it holds a lock of the whole database while a commit is flushed.

CREATE SCHEMA IF NOT EXISTS momentus;

-- A change that no refresh has taken up yet: board, table, time, and the nodes whose rows changed. No personal data.
-- Without nodes, every node may have changed.
CREATE TABLE IF NOT EXISTS momentus.dirty (
    id bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    board text NOT NULL,
    source text NOT NULL,
    nodes text[]
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- Instant as of which each board's marks were last taken up; a refresh of the board locks its row.
CREATE TABLE IF NOT EXISTS momentus.boards (
    board text PRIMARY KEY,
    as_of timestamptz NOT NULL
);

-- Runs with its owner's rights: a user that writes to the table needs no rights on the marks.
CREATE OR REPLACE FUNCTION momentus.mark_dirty() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
    FOR i IN 0 .. TG_NARGS - 1 LOOP
        INSERT INTO momentus.dirty (board, source) VALUES (TG_ARGV[i], TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME);
    END LOOP;
    RETURN NULL;
END
$function$;

REVOKE ALL ON FUNCTION momentus.mark_dirty() FROM PUBLIC;
