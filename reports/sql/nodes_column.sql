-- Add the nodes to marks of a former install, after the locks on the sources: writers lock in that order as well.

DO $block$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = 'momentus.dirty'::regclass AND attname = 'nodes' AND NOT attisdropped
    ) THEN
        ALTER TABLE momentus.dirty ADD COLUMN nodes text[];
    END IF;
END
$block$;
