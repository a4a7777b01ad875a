-- retention: raw rows are dropped by whole months.

-- name: months(before)
-- Those that have partitions, oldest first.
SELECT DISTINCT to_date(right(p.relname, 7), 'YYYY_MM') AS month
FROM event_tables e
JOIN pg_class t ON t.oid = to_regclass(e.name)
JOIN pg_inherits i ON i.inhparent = t.oid
JOIN pg_class p ON p.oid = i.inhrelid
WHERE p.relname ~ '_[0-9]{4}_[0-9]{2}$' AND to_date(right(p.relname, 7), 'YYYY_MM') < :before::date
ORDER BY month;

-- name: partitions(month)
SELECT p.relname AS name
FROM event_tables e
JOIN pg_class t ON t.oid = to_regclass(e.name)
JOIN pg_inherits i ON i.inhparent = t.oid
JOIN pg_class p ON p.oid = i.inhrelid
WHERE p.relname = e.name || to_char(:month::date, '_YYYY_MM')
ORDER BY p.relname;

-- name: limit_waiting(timeout)!
SELECT set_config('lock_timeout', :timeout, true);

-- name: is_busy(month)$
-- Whether a seat of that month is still held, or something of its scans is not yet followed.
SELECT EXISTS (
    SELECT FROM holds
    WHERE state = 'held'
      AND hold_id >= uuid7_floor(:month::date::timestamp AT TIME ZONE 'UTC')
      AND hold_id < uuid7_floor((:month::date + interval '1 month') AT TIME ZONE 'UTC')
) OR EXISTS (
    SELECT FROM touched_scans
    WHERE scan_id >= uuid7_floor(:month::date::timestamp AT TIME ZONE 'UTC')
      AND scan_id < uuid7_floor((:month::date + interval '1 month') AT TIME ZONE 'UTC')
);

-- name: size(names)$
SELECT coalesce(sum(pg_total_relation_size(to_regclass(quote_ident(name)))), 0)
FROM unnest(:names::text[]) AS name;

-- name: note(month)!
INSERT INTO dropped_months (month) VALUES (:month) ON CONFLICT DO NOTHING;
