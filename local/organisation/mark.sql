-- Whose the schema `organisation` is.
--
-- Parameters: none. Returns: one row (present, ours), both booleans.
-- Invariant: compares with the comment that schema.sql puts on the schema it makes.

SELECT
    to_regnamespace('organisation') IS NOT NULL AS present,
    obj_description(to_regnamespace('organisation'), 'pg_namespace')
        IS NOT DISTINCT FROM 'Momentus Jobs reference organisation, version 1' AS ours;
