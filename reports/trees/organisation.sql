-- The tree of the reference organisation, one row per node.
--
-- Parameters: none. Returns: id, parent_id (null: the root), name, kind.
-- Invariant: one root, no cycle; the refresh refuses anything else and keeps the last good set.

SELECT id, parent_id, name, kind
FROM organisation.nodes
