-- Presence and origin of the schema `organisation`.
--
-- Parameters: none. Returns: one row (present, is_own), both booleans.
-- Invariant: compares with the comment that schema.sql sets on its schema.

SELECT
    to_regnamespace('organisation') IS NOT NULL AS present,
    obj_description(to_regnamespace('organisation'), 'pg_namespace')
        IS NOT DISTINCT FROM 'Momentus Jobs reference organisation, version 1' AS is_own;
