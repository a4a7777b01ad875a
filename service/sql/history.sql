-- history: past days that `nearcode simulate --history` writes. Its sessions live in the past (see
-- 0009_crowd.sql): what they call now() is then.

-- name: set_clock(now)$
SELECT set_config('nearcode.now', :now, true);

-- name: plan_once()!
-- After seats have run out (hold.sql: plan_anew).
SET LOCAL plan_cache_mode = force_generic_plan;

-- name: get_history(chain_id, entry)^
SELECT * FROM histories WHERE chain_id = :chain_id AND entry = :entry;

-- name: list_histories(chain_id)
SELECT * FROM histories WHERE chain_id = :chain_id;

-- name: lock_history(chain_id, entry)^
SELECT * FROM histories WHERE chain_id = :chain_id AND entry = :entry FOR UPDATE;

-- name: begin_history(chain_id, entry, seed, scans_a_day, since, asleep)!
INSERT INTO histories (chain_id, entry, seed, scans_a_day, since, written_until, asleep)
VALUES (:chain_id, :entry, :seed, :scans_a_day, :since, :since, :asleep);

-- name: mark_history(chain_id, entry, written_until)!
UPDATE histories SET written_until = :written_until WHERE chain_id = :chain_id AND entry = :entry;

-- name: has_scans(chain_id, since, until)$
SELECT EXISTS (
    SELECT FROM scans
    WHERE chain_id = :chain_id AND scan_id >= uuid7_floor(:since) AND scan_id < uuid7_floor(:until)
);

-- name: put_catalog_back(chain_id, since, fallback_since)!
-- The chain has been there before its history begins; the entries' fallbacks came later.
WITH codes_then AS (
    UPDATE codes
    SET created_at = CASE WHEN store IS NULL THEN :fallback_since::timestamptz ELSE :since::timestamptz END,
        updated_at = :since::timestamptz, trusted_since = :since::timestamptz
    WHERE chain_id = :chain_id
), placements_then AS (
    UPDATE placements SET created_at = :since::timestamptz, updated_at = :since::timestamptz WHERE chain_id = :chain_id
), entries_then AS (
    UPDATE entries SET created_at = :since::timestamptz, updated_at = :since::timestamptz WHERE chain_id = :chain_id
)
UPDATE stores SET created_at = :since::timestamptz, updated_at = :since::timestamptz WHERE chain_id = :chain_id;

-- name: fallback_since(chain_id)$
SELECT max(created_at) FROM codes WHERE chain_id = :chain_id AND store IS NULL;

-- name: put_new_codes_back(chain_id)!
-- Columns' own defaults know nothing of the past: codes of this transaction.
UPDATE codes SET created_at = now(), updated_at = now(), trusted_since = now()
WHERE chain_id = :chain_id AND created_at = pg_catalog.now();

-- name: new_records(chain_id)
SELECT audit_id FROM audit WHERE chain_id = :chain_id AND at = pg_catalog.now() ORDER BY audit_id;

-- name: put_records_back(chain_id, audit_ids, then_ids)!
UPDATE audit SET at = now(), audit_id = moved.then_id
FROM unnest(:audit_ids::uuid[], :then_ids::uuid[]) AS moved (audit_id, then_id)
WHERE audit.chain_id = :chain_id AND audit.audit_id = moved.audit_id;

-- name: leavers(chain_id, since, until, share, days)
-- Some members leave, most of them soon: who, and after how long, is in their visitor's id. Those
-- whose time comes from `since` to before `until`.
SELECT join_id, leaves_at
FROM (
    SELECT join_id, visitor_id, joined_at + make_interval(
        secs => 3600 + :days::float8 * 86400
                * (('x' || substr(visitor_id::text, 25, 6))::bit(24)::int / 16777216.0) ^ 2
    ) AS leaves_at
    FROM joins
    WHERE chain_id = :chain_id AND left_at IS NULL AND joined_at < :until
      AND join_id >= uuid7_floor(:since::timestamptz - make_interval(secs => 86400 * :days::float8 + 7200))
      AND ('x' || substr(visitor_id::text, 31, 6))::bit(24)::int / 16777216.0 < :share::float8
) AS leaving
WHERE leaves_at >= :since AND leaves_at < :until
ORDER BY leaves_at, visitor_id;

-- name: roster(chain_id, entry, since, until)
-- Who joined from `since` to before `until`, oldest first.
SELECT join_id, scan_id, visitor_id, store, joined_at, left_at FROM joins
WHERE chain_id = :chain_id AND entry = :entry
  AND join_id >= uuid7_floor(:since::timestamptz - interval '1 hour')
  AND joined_at >= :since AND joined_at < :until
ORDER BY joined_at, visitor_id;
