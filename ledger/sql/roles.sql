-- The roles that may use the ledger. No parameters.
--
-- Returns one row a role, by name: role, works (boolean: it may also read and remove; else it may only stage).

SELECT pg_catalog.pg_get_userbyid(entry.grantee)::text AS role, bool_or(entry.privilege_type = 'DELETE') AS works
FROM pg_catalog.pg_class AS class
CROSS JOIN LATERAL pg_catalog.aclexplode(class.relacl) AS entry
WHERE class.oid = pg_catalog.to_regclass('momentus_ledger.jobs')
    AND entry.grantee NOT IN (0, class.relowner) AND entry.privilege_type IN ('INSERT', 'DELETE')
GROUP BY entry.grantee
ORDER BY 1
