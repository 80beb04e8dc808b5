-- Condition that each node has one text in a column: "attribute" is its row of pg_attribute.
--
-- Integers, UUIDs, texts of a deterministic collation, char(n), enums, and domains of these: an output function writes
-- them, and a domain has its type's. Other texts may be equal and differ; virtual columns are null in a trigger.
-- The column's name must leave room for that of its function.

attribute.attnum > 0 AND NOT attribute.attisdropped AND attribute.attgenerated <> 'v'
AND octet_length(attribute.attname::text) <= 50
AND EXISTS (
    SELECT FROM pg_type AS type
    JOIN pg_proc AS output ON output.oid = type.typoutput AND output.pronamespace = 'pg_catalog'::regnamespace
    WHERE type.oid = attribute.atttypid AND (
        output.proname IN ('int2out', 'int4out', 'int8out', 'uuid_out', 'textout', 'varcharout', 'enum_out')
        OR output.proname = 'bpcharout' AND (attribute.atttypmod > 0 OR type.typtypmod > 0)
    )
)
AND NOT EXISTS (
    SELECT FROM pg_collation WHERE pg_collation.oid = attribute.attcollation AND NOT pg_collation.collisdeterministic
)
