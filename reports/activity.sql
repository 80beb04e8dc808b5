-- +++
-- name = "activity"
-- title = "Actividad"
-- scope = "node_id"
-- tree = "organisation"
-- every = "1m"
-- sources = ["organisation.nodes", "organisation.checkins"]
-- # Time itself changes the numbers when a row's instant that is still to come is reached, and at midnight.
-- valid_until = "column changes_at"
--
-- [freshness]
-- soft = "2m"
-- hard = "10m"
-- debounce = "2s"
-- max_wait = "20s"
--
-- [nodes]
-- "organisation.checkins" = "node_id"
--
-- [rollup]
-- checkins = "sum"
-- checkins_by_day = "sums"
-- last_at = "max"
--
-- [titles.es]
-- report = "Actividad"
-- checkins = "Check-ins en 35 días"
-- checkins_by_day = "Check-ins por día"
-- last_at = "Último check-in"
--
-- [titles.en]
-- report = "Activity"
-- checkins = "Check-ins in 35 days"
-- checkins_by_day = "Check-ins by day"
-- last_at = "Latest check-in"
-- +++
--
-- The check-ins of 35 calendar days, today included: in total, by day, and the latest. Days without check-ins are left
-- out. Days are local: the first is 34 dates before today's, regardless of clock changes since.
--
-- A date begins at its midnight or right after the last microsecond of the one before, whichever is earlier: where
-- midnight comes twice, Postgres takes the second for the first; where it never comes, either may be the one that is
-- not there. A date ends where the next begins.
--
-- Each day is selected by its own two instants: the zone is evaluated for 35 dates, not for every check-in. The days
-- are materialized so that their names are formatted 35 times as well, and not for every day of every node.
--
-- Parameters: :nodes, :now, :day_start, :day_end, :zone. Returns: one row per node with check-ins in those days or in the
-- future, direct rows only. The first instant at which time changes the node's numbers is no later than changes_at.

WITH days AS MATERIALIZED (
    SELECT
        to_char(day, 'YYYY-MM-DD') AS day,
        begins,
        lead(begins, 1, 'infinity') OVER (ORDER BY day) AS ends
    FROM (
        SELECT
            day,
            least(
                day AT TIME ZONE :zone,
                (day - interval '1 microsecond') AT TIME ZONE :zone + interval '1 microsecond'
            ) AS begins
        FROM (
            SELECT (:day_start::timestamptz AT TIME ZONE :zone)::date - back + time '00:00' AS day
            FROM generate_series(0, 34) AS back
        ) AS dates
    ) AS instants
),
counted AS (
    SELECT node_id, day, number, last_at
    FROM days
    CROSS JOIN LATERAL (
        SELECT node_id, count(*) AS number, max(at) AS last_at
        FROM organisation.checkins
        WHERE node_id = ANY(:nodes) AND at >= begins AND at < ends AND at <= :now
        GROUP BY node_id
    ) AS of_day
),
past AS (
    SELECT
        node_id,
        sum(number)::bigint AS checkins,
        json_object_agg(day, number) AS checkins_by_day,
        max(last_at) AS last_at
    FROM counted
    GROUP BY node_id
),
future AS (
    SELECT node_id, min(at) AS changes_at
    FROM organisation.checkins
    WHERE node_id = ANY(:nodes) AND at > :now
    GROUP BY node_id
)
SELECT
    node_id,
    coalesce(checkins, 0) AS checkins,
    checkins_by_day,
    last_at,
    least(:day_end, changes_at) AS changes_at
FROM past
FULL JOIN future USING (node_id)
