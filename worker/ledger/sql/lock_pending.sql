-- Lock some of the pending jobs that no other relay has locked.
--
-- $1  bigint  how many
-- $2  tid     place in the table behind which to look
--
-- Returns place (tid), id and day, in days since 1970 (NULL for a day that no envelope can name).
--
-- Not in the order of ids, and without a mark: a lower id may be committed later.

SELECT ctid AS place, id, CASE WHEN day BETWEEN '1970-01-01' AND '9999-12-31' THEN day - date '1970-01-01' END AS day
FROM momentus_ledger.pending
WHERE ctid > $2
LIMIT $1
FOR UPDATE SKIP LOCKED
