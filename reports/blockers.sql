-- +++
-- name = "blockers"
-- title = "Bloqueos"
-- board = "management"
-- scope = "node_id"
-- tree = "organisation"
-- every = "1m"
-- sources = ["organisation.nodes", "organisation.blockers"]
-- # Time itself changes the numbers when a row's instant that is still to come is reached; a column says it.
-- # Closed blockers never count again, so only the others are queried, which have partial indexes.
-- valid_until = "column changes_at"
--
-- [freshness]
-- soft = "90s"
-- hard = "5m"
-- debounce = "2s"
-- max_wait = "5s"
--
-- [nodes]
-- "organisation.blockers" = "node_id"
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
-- Parameters: :nodes, :now. Returns: one row per node with active or future blockers, direct rows only.
-- Invariant: the ten oldest of a subtree are among the ten oldest of each of its nodes, so more are not sent. Future
-- blockers come last in that order and are not counted; the first instant at which one opens or closes is changes_at.

WITH active AS (
    SELECT
        node_id,
        id,
        kind,
        employee_id,
        task_id,
        opened_at,
        closed_at,
        row_number() OVER (PARTITION BY node_id ORDER BY opened_at, id) AS place
    FROM organisation.blockers
    WHERE node_id = ANY(:nodes) AND (closed_at IS NULL OR closed_at > :now)
),
kinds AS (
    SELECT
        node_id,
        sum(number)::bigint AS active,
        jsonb_object_agg(kind, number) FILTER (WHERE number > 0) AS by_kind,
        min(changes_at) AS changes_at
    FROM (
        SELECT
            node_id,
            kind,
            count(*) FILTER (WHERE opened_at <= :now) AS number,
            min(CASE WHEN opened_at > :now THEN opened_at ELSE closed_at END) AS changes_at
        FROM active
        GROUP BY node_id, kind
    ) AS counted
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
    WHERE place <= 10 AND opened_at <= :now
    GROUP BY node_id
)
SELECT node_id, active, by_kind, oldest, changes_at
FROM kinds
LEFT JOIN oldest USING (node_id)
