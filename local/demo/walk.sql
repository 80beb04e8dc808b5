-- Totals of one node's whole subtree: the query that a dashboard without reports runs for each node.
--
-- Parameters: $1 node id, $2 now, $3 start and $4 end of the day. Returns: one row.
-- Reports replace this query; the demo measures it on the same database.

WITH RECURSIVE subtree AS (
    SELECT id FROM organisation.nodes WHERE id = $1
    UNION ALL
    SELECT child.id FROM organisation.nodes AS child JOIN subtree ON child.parent_id = subtree.id
)
SELECT
    (SELECT count(*) FROM organisation.employees
     WHERE node_id IN (SELECT id FROM subtree)
       AND joined_at <= $2 AND (left_at IS NULL OR left_at > $2)) AS employees,
    (SELECT count(*) FROM organisation.checkins
     WHERE node_id IN (SELECT id FROM subtree) AND at >= $3 AND at < $4 AND at <= $2) AS checkins_today,
    (SELECT count(DISTINCT employee_id) FROM organisation.checkins
     WHERE node_id IN (SELECT id FROM subtree) AND at >= $3 AND at < $4 AND at <= $2) AS people_today,
    (SELECT count(*) FROM organisation.blockers
     WHERE node_id IN (SELECT id FROM subtree)
       AND opened_at <= $2 AND (closed_at IS NULL OR closed_at > $2)) AS active_blockers,
    (SELECT count(*) FROM organisation.tasks
     WHERE node_id IN (SELECT id FROM subtree)
       AND created_at <= $2 AND (closed_at IS NULL OR closed_at > $2)) AS open_tasks
