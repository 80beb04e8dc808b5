-- Migration 2: the functions by which any language stages a job in its own transaction.
--
-- They run with their owner's rights, so that a role may stage without reading anything, and raise 22023 with the name of
-- the field first. A catch of exceptions would cost a subtransaction, so what a constraint says (an id of the same day,
-- staged at the same instant) stays as it is.

DO $block$
BEGIN
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'server_encoding: is %; the ledger needs a database in UTF8', current_setting('server_encoding');
    END IF;
END
$block$;

-- A new job id as producers write them: milliseconds in ten digits of base 32, microseconds in two, 56 random bits, so
-- that jobs of one transaction run in the order in which they were staged.
CREATE FUNCTION momentus_ledger.new_id(lane text, at timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    digits CONSTANT text := '0123456789abcdefghjkmnpqrstvwxyz';
    microseconds CONSTANT bigint := (extract(epoch FROM at) * 1000000)::bigint;
    -- 48 bits of milliseconds and 10 of microseconds, in 12 digits of 5
    value CONSTANT bigint := ((microseconds / 1000) << 10) | (microseconds % 1000);
    random CONSTANT text := gen_random_uuid()::text;
    found text := '';
BEGIN
    FOR place IN REVERSE 11 .. 0 LOOP
        found := found || substr(digits, ((value >> (5 * place)) & 31)::integer + 1, 1);
    END LOOP;
    RETURN '{' || split_part(lane, '.', 1) || '}' || found || right(random, 12) || left(random, 2);
END
$function$;

-- Stage a job; returns its id. It exists if and only if the caller's transaction commits.
--
-- key           text of at most 512 bytes that names this piece of work; the same key gives one job
-- due_at        from when it may run; NULL or a past time: at once; at most 366 days away
-- expires_at    the job ends as expired if it could not begin by then
-- limit_key     of a limit that the job counts against
-- id            by default a new one; {group} of the lane, and behind it what no other job has
-- version       of the payload's shape, as the kind's handler counts it
-- template      name of the template from which a mail was made, for the record
-- fingerprint   SHA-256 in hexadecimal of what the key stands for; by default of kind, lane and payload
--
-- The payload of mail.send may leave out message_id, date, text, html, sender, sender_name and reply_to.
CREATE FUNCTION momentus_ledger.stage(
    kind text, payload jsonb, lane text, key text DEFAULT NULL, due_at timestamptz DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL, limit_key text DEFAULT NULL, id text DEFAULT NULL,
    version integer DEFAULT 1, template text DEFAULT '', fingerprint text DEFAULT NULL
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    at CONSTANT timestamptz := clock_timestamp();
    today CONSTANT date := (at AT TIME ZONE 'UTC')::date;
    at_ms CONSTANT bigint := round(extract(epoch FROM at) * 1000);
    tag CONSTANT text := '{' || split_part(lane, '.', 1) || '}';
    job_id text := id;
    is_known boolean;
    recipients text[] := '{}';
    content text := '';
    envelope bytea;
BEGIN
    IF kind IS NULL OR kind !~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$' OR length(kind) > 255 THEN
        RAISE EXCEPTION 'kind: % must be lower-case words with dots between them, like mail.send',
            coalesce(quote_literal(left(kind, 80)), 'NULL') USING ERRCODE = '22023';
    ELSIF lane IS NULL OR lane !~ '^(mail\.(urgent|normal|bulk)|jobs(\.[a-z][a-z0-9_]{0,31})?)$' THEN
        RAISE EXCEPTION 'lane: % must be mail.urgent, mail.normal, mail.bulk, jobs, or jobs. and a name of '
            'lower-case letters, digits and _, at most 32', coalesce(quote_literal(left(lane, 80)), 'NULL')
            USING ERRCODE = '22023';
    ELSIF kind = 'mail.send' AND tag <> '{mail}' THEN
        RAISE EXCEPTION 'lane: % takes no mails; give mail.urgent, mail.normal or mail.bulk', lane
            USING ERRCODE = '22023';
    ELSIF payload IS NULL OR jsonb_typeof(payload) <> 'object' THEN
        RAISE EXCEPTION 'payload: must be a JSON object, not %', coalesce(jsonb_typeof(payload), 'NULL')
            USING ERRCODE = '22023';
    ELSIF octet_length(key) NOT BETWEEN 1 AND 512 THEN
        RAISE EXCEPTION 'key: has % bytes; must have 1 to 512', octet_length(key) USING ERRCODE = '22023';
    ELSIF due_at > at + interval '366 days' THEN
        RAISE EXCEPTION 'due_at: % is over 366 days away; that is the maximum', due_at USING ERRCODE = '22023';
    ELSIF expires_at <= greatest(due_at, at) THEN
        RAISE EXCEPTION 'expires_at: % is not after the job''s earliest start; choose a later expiry', expires_at
            USING ERRCODE = '22023';
    ELSIF expires_at >= timestamptz '10000-01-01 00:00:00+00' THEN
        RAISE EXCEPTION 'expires_at: % is after the year 9999; choose an earlier expiry', expires_at
            USING ERRCODE = '22023';
    ELSIF length(limit_key) > 128 OR limit_key ~ '^(hold|lane|slow):'
        OR limit_key !~ '^[A-Za-z0-9_.@+-]+(:([A-Za-z0-9_.@+-]+|\*))?$' THEN
        RAISE EXCEPTION 'limit_key: % is not a valid key; use a name, or a family and a name, like customer:42, at '
            'most 128 letters, digits and . _ @ + -; the families hold, lane and slow are reserved',
            quote_literal(left(limit_key, 80)) USING ERRCODE = '22023';
    ELSIF version IS NULL OR version < 1 THEN
        RAISE EXCEPTION 'version: % must be a whole number from 1', version USING ERRCODE = '22023';
    ELSIF fingerprint !~ '^[0-9a-f]{64}$' THEN
        RAISE EXCEPTION 'fingerprint: must be a SHA-256, 64 hexadecimal digits in lower case'
            USING ERRCODE = '22023';
    END IF;

    IF job_id IS NULL THEN
        job_id := momentus_ledger.new_id(lane, at);
    ELSIF NOT starts_with(job_id, tag) OR length(job_id) - length(tag) NOT BETWEEN 1 AND 255
        OR job_id ~ '[^!-~]' THEN
        RAISE EXCEPTION 'id: % must be % and 1 to 255 characters of ASCII without spaces behind it',
            quote_literal(left(job_id, 80)), tag USING ERRCODE = '22023';
    ELSE
        -- Planned with these days as constants: only their partitions are opened.
        EXECUTE 'SELECT EXISTS (SELECT FROM momentus_ledger.pending WHERE id = $1) OR EXISTS ('
            'SELECT FROM momentus_ledger.jobs WHERE id = $1 AND day BETWEEN $2 AND $3)'
            INTO is_known USING job_id, today - 7, today;
        IF is_known THEN
            RAISE EXCEPTION 'id: % exists; give another, or none', quote_literal(left(job_id, 80))
                USING ERRCODE = '23505';
        END IF;
    END IF;

    IF key IS NOT NULL THEN
        content := coalesce(fingerprint, encode(sha256(convert_to(
            jsonb_build_array(kind, lane, version, payload)::text, 'UTF8'
        )), 'hex'));
    END IF;
    IF kind = 'mail.send' THEN
        IF jsonb_typeof(payload -> 'to') = 'string' AND NOT payload ?| '{cc,bcc}' THEN  -- as nearly always
            recipients := ARRAY[encode(sha256(convert_to(lower(payload ->> 'to' COLLATE "C"), 'UTF8')), 'hex')];
        ELSE
            recipients := momentus_ledger.recipients_of(payload);
        END IF;
        payload := jsonb_build_object(
            'message_id', regexp_replace(job_id, '[^A-Za-z0-9-]', '', 'g'),
            'date', to_char(greatest(due_at, at) AT TIME ZONE 'UTC', 'Dy, DD Mon YYYY HH24:MI:SS') || ' +0000',
            'sender', NULL, 'sender_name', NULL, 'reply_to', NULL, 'text', '', 'html', ''
        ) || payload;
    END IF;
    envelope := convert_to(
        '{"v":1,"f":"' || kind || '","t":null,"a":[],"k":' || payload::text || ',"et":' || at_ms
        || CASE WHEN due_at > at
            THEN ',"d":' || round(extract(epoch FROM due_at) * 1000)::bigint - at_ms ELSE '' END
        || CASE WHEN expires_at IS NOT NULL
            THEN ',"x":' || round(extract(epoch FROM expires_at) * 1000)::bigint ELSE '' END
        || CASE WHEN version > 1 THEN ',"pv":' || version ELSE '' END
        || ',"l":' || today - date '1970-01-01' || '}',
        'UTF8'
    );
    IF octet_length(envelope) > 262144 THEN
        RAISE EXCEPTION 'payload: % bytes; at most 262144 are allowed; send a reference', octet_length(envelope)
            USING ERRCODE = '22023';
    END IF;

    INSERT INTO momentus_ledger.jobs (
        day, id, lane, kind, payload, due_at, expires_at, key, fingerprint, window_ms, limit_key, recipients, template,
        staged_at
    ) VALUES (
        today, job_id, lane, kind, envelope,
        CASE WHEN due_at > at THEN due_at END, expires_at,
        CASE WHEN key IS NULL THEN '' ELSE encode(sha256(convert_to(key, 'UTF8')), 'hex') END,
        content,
        CASE WHEN key IS NULL THEN 0 ELSE 604800000 END,
        coalesce(limit_key, ''), recipients, coalesce(template, ''), at
    );
    INSERT INTO momentus_ledger.pending (id, day) VALUES (job_id, today);
    RETURN job_id;
END
$function$;

-- SHA-256 of each recipient of a mail in lower case, as the list of suppressed addresses has them; none of a sealed mail.
CREATE FUNCTION momentus_ledger.recipients_of(payload jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT coalesce(array_agg(encode(sha256(convert_to(lower(address COLLATE "C"), 'UTF8')), 'hex')), '{}')
    FROM (
        SELECT payload ->> 'to' AS address WHERE jsonb_typeof(payload -> 'to') = 'string'
        UNION ALL
        SELECT one ->> 'address'
        FROM (VALUES ('to'), ('cc'), ('bcc')) AS field (name)
        CROSS JOIN LATERAL jsonb_array_elements(
            CASE jsonb_typeof(payload -> field.name) WHEN 'array' THEN payload -> field.name ELSE '[]' END
        ) AS one
    ) AS found
    WHERE address IS NOT NULL
$function$;

-- Stage a mail of ready parts, as Mail(to=recipient, subject=subject, text=body, html=html) of a producer is; returns
-- its id. What it accepts a producer accepts as well; an address in letters outside ASCII it refuses, and a private
-- domain. For all else that a mail may have compose the payload (docs/wire.md) and call stage.
CREATE FUNCTION momentus_ledger.stage_mail(
    recipient text, subject text, body text, html text DEFAULT NULL, key text DEFAULT NULL,
    due_at timestamptz DEFAULT NULL, lane text DEFAULT 'mail.normal'
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    domain CONSTANT text := lower(split_part(recipient, '@', 2) COLLATE "C");
    -- Unicode's spaces, as a producer strips them; what \s means depends on the database's locale.
    spaces CONSTANT text := '\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000';
    title CONSTANT text := regexp_replace(subject, format('^[%1$s]+|[%1$s]+$', spaces), '', 'g');
    size CONSTANT bigint := octet_length(title) + octet_length(body) + coalesce(octet_length(html), 0);
BEGIN
    -- No error quotes an address or a text: they reach logs.
    IF lane IS NULL OR lane NOT IN ('mail.urgent', 'mail.normal', 'mail.bulk') THEN
        RAISE EXCEPTION 'lane: % must be mail.urgent, mail.normal or mail.bulk',
            coalesce(quote_literal(left(lane, 80)), 'NULL') USING ERRCODE = '22023';
    ELSIF recipient IS NULL OR length(recipient) > 254 OR length(split_part(recipient, '@', 1)) > 64
        OR recipient !~ '^[A-Za-z0-9_!#$%&''*+/=?^`{|}~-]+(\.[A-Za-z0-9_!#$%&''*+/=?^`{|}~-]+)*@[A-Za-z0-9.-]+$'
        OR recipient ~ '=\?[^?\s]*\?[bqBQ]\?'
        OR domain !~ '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'
        OR domain ~ '(^|\.)..--' OR domain !~ '[a-z]$' THEN
        RAISE EXCEPTION 'recipient: is not a plain mail address; give name@domain in ASCII letters, nothing else'
            USING ERRCODE = '22023';
    ELSIF domain ~ '(^|\.)(arpa|invalid|local|localhost|onion|test)$' THEN
        RAISE EXCEPTION 'recipient: its domain is for special use, not for the internet'
            USING ERRCODE = '22023';
    ELSIF coalesce(title, '') = '' THEN
        RAISE EXCEPTION 'subject: is empty; give a subject' USING ERRCODE = '22023';
    ELSIF length(title) > 255 THEN
        RAISE EXCEPTION 'subject: is too long (% characters); at most 255 are allowed', length(title)
            USING ERRCODE = '22023';
    ELSIF title ~ '[\u0001-\u001f\u007f-\u009f\u2028\u2029]' THEN
        RAISE EXCEPTION 'subject: contains a control character; remove it' USING ERRCODE = '22023';
    ELSIF title ~ '=\?[^?\s]*\?[bqBQ]\?' THEN
        RAISE EXCEPTION 'subject: contains an encoded-word (=?charset?q?...); give plain text, which is encoded later'
            USING ERRCODE = '22023';
    ELSIF body IS NULL OR body !~ format('[^%s]', spaces) THEN
        RAISE EXCEPTION 'body: is empty; give the text of the mail, beside html too' USING ERRCODE = '22023';
    ELSIF html ~ 'cid:' THEN
        RAISE EXCEPTION 'html: shows a part of the mail (cid:); such a mail needs a producer' USING ERRCODE = '22023';
    ELSIF size > 262144 THEN
        RAISE EXCEPTION 'body: subject, body and html have % bytes; at most 262144 are allowed, so link to it', size
            USING ERRCODE = '22023';
    END IF;

    RETURN momentus_ledger.stage(
        'mail.send',
        jsonb_build_object(
            'to', split_part(recipient, '@', 1) || '@' || domain,
            'subject', title, 'text', body, 'html', coalesce(html, '')
        ),
        lane, key, due_at
    );
END
$function$;

REVOKE ALL ON FUNCTION momentus_ledger.new_id(text, timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION momentus_ledger.recipients_of(jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION momentus_ledger.stage(
    text, jsonb, text, text, timestamptz, timestamptz, text, text, integer, text, text
) FROM PUBLIC;
REVOKE ALL ON FUNCTION momentus_ledger.stage_mail(text, text, text, text, text, timestamptz, text) FROM PUBLIC;
