-- +++
-- name = "blockers"
-- title = "Bloqueos"
-- board = "management"
-- scope = "node_id"
-- tree = "organisation"
-- every = "1m"
-- sources = ["organisation.nodes", "organisation.blockers"]
-- # Time itself changes the numbers when a row's instant that is still to come is reached.
-- # Closed blockers never count again, so only the others are queried, which have partial indexes.
-- valid_until = """
-- SELECT least(
--     (SELECT min(opened_at) FROM organisation.blockers WHERE opened_at > :now AND closed_at IS NULL),
--     (SELECT min(opened_at) FROM organisation.blockers WHERE opened_at > :now AND closed_at > :now),
--     (SELECT min(closed_at) FROM organisation.blockers WHERE closed_at > :now)
-- )
-- """
--
-- [freshness]
-- soft = "90s"
-- hard = "5m"
-- debounce = "2s"
-- max_wait = "5s"
--
-- [rollup]
-- active = "sum"
-- by_kind = "sums"
-- oldest = "top 10 by opened_at, id asc"
--
-- [titles.es]
-- report = "Bloqueos"
-- active = "Bloqueos activos"
-- by_kind = "Por tipo"
-- oldest = "Los más antiguos"
-- "oldest.id" = "Número"
-- "oldest.opened_at" = "Abierto"
-- "oldest.kind" = "Tipo"
-- "oldest.node" = "Nodo"
-- "oldest.employee" = "Persona"
-- "oldest.task" = "Tarea"
--
-- [titles.en]
-- report = "Blockers"
-- active = "Active blockers"
-- by_kind = "By kind"
-- oldest = "The oldest"
-- "oldest.id" = "Number"
-- "oldest.opened_at" = "Opened"
-- "oldest.kind" = "Kind"
-- "oldest.node" = "Node"
-- "oldest.employee" = "Employee"
-- "oldest.task" = "Task"
-- +++
--
-- The active blockers of a node and its subtree: their number, by kind, and the ten oldest.
--
-- Parameters: :now. Returns: one row per node with active blockers, direct rows only.
-- Invariant: the ten oldest of a subtree are among the ten oldest of each of its nodes, so more are not sent.

WITH active AS (
    SELECT
        node_id,
        id,
        kind,
        employee_id,
        task_id,
        opened_at,
        row_number() OVER (PARTITION BY node_id ORDER BY opened_at, id) AS place
    FROM organisation.blockers
    WHERE opened_at <= :now AND (closed_at IS NULL OR closed_at > :now)
),
kinds AS (
    SELECT node_id, sum(number)::bigint AS active, jsonb_object_agg(kind, number) AS by_kind
    FROM (SELECT node_id, kind, count(*) AS number FROM active GROUP BY node_id, kind) AS counted
    GROUP BY node_id
),
oldest AS (
    SELECT
        node_id,
        jsonb_agg(jsonb_build_object(
            'id', id,
            'node', node_id,
            'kind', kind,
            'employee', employee_id,
            'task', task_id,
            'opened_at', to_char(opened_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        ) ORDER BY place) AS oldest
    FROM active
    WHERE place <= 10
    GROUP BY node_id
)
SELECT node_id, active, by_kind, oldest
FROM kinds
JOIN oldest USING (node_id)
