-- warnings: what is wrong, compared with the warnings that are open.

-- name: try_lock(key)$
SELECT pg_try_advisory_xact_lock(:key);

-- name: take_turn(every_s)$
-- Whether a look is due, of all workers': the last was long ago, or something was edited since.
UPDATE warning_looks l SET looked_at = now(), versions = c.versions
FROM (SELECT coalesce(sum(version), 0) AS versions FROM chains) AS c
WHERE l.not_before <= now()
  AND (l.looked_at <= now() - make_interval(secs => :every_s::float8)
       OR l.versions <> c.versions)
RETURNING true;

-- name: end_turn(pause_s)!
UPDATE warning_looks SET not_before = clock_timestamp() + make_interval(secs => :pause_s::float8);

-- name: differences(filling, nearly_full, expiring_hours, expiring_soon_hours, at, most)
-- What is wrong and not warned of (`warning_id` null), and the open warnings that differ from what
-- is: mended (`wrong` false), wrong again, or edited and still wrong. `most` at a time; `at` null:
-- now.
WITH clock AS (
    SELECT coalesce(:at::timestamptz, now()) AS at
), code AS MATERIALIZED (
    -- Those that may have something wrong. Seats that are held count: nobody else can have them.
    SELECT c.chain_id, c.code_id, c.store, c.status, c.capacity, c.version, c.expires_at,
           c.flagged_at, c.members + c.held AS taken, clock.at
    FROM clock, codes c
    WHERE c.status <> 'retired'
      AND (c.flagged_at IS NOT NULL
           OR c.members + c.held >= c.capacity
              * least(nullif(:filling::float8, 0), nullif(:nearly_full::float8, 0), 100) / 100
           OR c.expires_at <= clock.at + make_interval(
              secs => greatest(:expiring_hours::float8, :expiring_soon_hours::float8, 0) * 3600))
      AND (c.store IS NULL
           OR EXISTS (SELECT FROM stores s WHERE s.chain_id = c.chain_id AND s.store = c.store
                      AND s.status = 'open'))
), wrong AS (
    SELECT chain_id, 'filling' AS kind, store, code_id, version FROM code
    WHERE status = 'active' AND :filling::float8 > 0
      AND taken * 100::float8 >= capacity * :filling::float8
    UNION ALL
    SELECT chain_id, 'nearly_full', store, code_id, version FROM code
    WHERE status = 'active' AND :nearly_full::float8 > 0
      AND taken * 100::float8 >= capacity * :nearly_full::float8
    UNION ALL
    SELECT chain_id, 'full', store, code_id, version FROM code
    WHERE status = 'active' AND taken >= capacity
    UNION ALL
    SELECT chain_id, 'expiring', store, code_id, version FROM code
    WHERE status = 'active' AND :expiring_hours::float8 > 0
      AND expires_at <= at + make_interval(secs => :expiring_hours::float8 * 3600)
    UNION ALL
    SELECT chain_id, 'expiring_soon', store, code_id, version FROM code
    WHERE status = 'active' AND :expiring_soon_hours::float8 > 0
      AND expires_at <= at + make_interval(secs => :expiring_soon_hours::float8 * 3600)
    UNION ALL
    SELECT chain_id, 'expired', store, code_id, version FROM code
    WHERE status = 'active' AND expires_at <= at
    UNION ALL
    SELECT chain_id, 'reported', store, code_id, version FROM code WHERE flagged_at IS NOT NULL
    UNION ALL
    -- A store that never had a code, nor a poster of its own, is not broken: it has not begun.
    SELECT s.chain_id, 'not_serving', s.store, NULL, greatest(s.version, has.version)
    FROM clock
    JOIN stores s ON s.status = 'open'
        AND NOT EXISTS (
            SELECT FROM codes c
            WHERE c.chain_id = s.chain_id AND c.store = s.store AND c.status = 'active'
              AND c.members + c.held < c.capacity
              AND (c.expires_at IS NULL OR c.expires_at > clock.at))
    LEFT JOIN LATERAL (
        SELECT max(c.version) AS version FROM codes c
        WHERE c.chain_id = s.chain_id AND c.store = s.store
    ) AS has ON true
    WHERE has.version IS NOT NULL
       OR (s.chain_id, s.store) IN (SELECT p.chain_id, p.store FROM placements p
                                    WHERE p.store IS NOT NULL)
), is_open AS (
    SELECT * FROM warnings WHERE closed_at IS NULL
), different AS (
    SELECT coalesce(w.chain_id, o.chain_id) AS chain_id, coalesce(w.kind, o.kind) AS kind,
           coalesce(w.store, o.store) AS store, coalesce(w.code_id, o.code_id) AS code_id,
           o.warning_id, o.mended_since, w.kind IS NOT NULL AS wrong,
           o.version AS version_then, w.version
    FROM wrong w FULL JOIN is_open o
        ON o.chain_id = w.chain_id AND o.kind = w.kind
            AND o.subject = coalesce(w.code_id::text, w.store)
    WHERE o.warning_id IS NULL OR w.kind IS NULL OR o.mended_since IS NOT NULL
       OR w.version <> o.version
    -- Last those that are only waited for.
    ORDER BY w.kind IS NULL AND o.mended_since IS NOT NULL
    LIMIT :most
)
SELECT d.chain_id, d.kind, d.store, d.code_id, d.warning_id, d.mended_since, d.wrong,
       d.version_then, clock.at,
       -- Of what is well again: is that somebody's work?
       coalesce(d.version, greatest(
           (SELECT s.version FROM stores s WHERE s.chain_id = d.chain_id AND s.store = d.store),
           (SELECT c.version FROM codes c
            WHERE c.chain_id = d.chain_id AND c.code_id = d.code_id),
           (SELECT max(c.version) FROM codes c
            WHERE c.chain_id = d.chain_id AND c.store = d.store AND d.code_id IS NULL)), 0)
           AS version
FROM clock, different d
ORDER BY d.chain_id, d.kind, d.store, d.code_id;

-- name: raise_warnings(chain_ids, warning_ids, kinds, stores, code_ids, versions, at)
-- Each with what it is about, as it is now. One that somebody else has raised is let be.
INSERT INTO warnings (chain_id, warning_id, kind, store, code_id, details, version, raised_at)
SELECT new.chain_id, new.warning_id, new.kind, new.store, new.code_id,
       CASE WHEN new.kind IN ('filling', 'nearly_full', 'full') THEN
               jsonb_build_object('members', c.members, 'held', c.held, 'capacity', c.capacity)
            WHEN new.kind IN ('expiring', 'expiring_soon', 'expired') THEN
               jsonb_build_object('expires_at', c.expires_at)
            WHEN new.kind = 'reported' THEN jsonb_build_object('flagged_at', c.flagged_at)
            ELSE (SELECT jsonb_build_object(
                      'codes', count(*),
                      'paused', count(*) FILTER (WHERE o.status = 'paused'),
                      'expired', count(*) FILTER (WHERE o.status = 'active'
                                                  AND o.expires_at <= :at::timestamptz),
                      'full', count(*) FILTER (WHERE o.status = 'active'
                          AND (o.expires_at IS NULL OR o.expires_at > :at::timestamptz)
                          AND o.members + o.held >= o.capacity))
                  FROM codes o
                  WHERE o.chain_id = new.chain_id AND o.store = new.store
                    AND o.status <> 'retired')
       END,
       new.version, :at
FROM unnest(:chain_ids::uuid[], :warning_ids::uuid[], :kinds::text[], :stores::text[],
            :code_ids::uuid[], :versions::bigint[])
    AS new (chain_id, warning_id, kind, store, code_id, version)
LEFT JOIN codes c ON c.chain_id = new.chain_id AND c.code_id = new.code_id
ON CONFLICT (chain_id, kind, subject) WHERE closed_at IS NULL DO NOTHING
RETURNING chain_id, warning_id;

-- name: close_warnings(chain_ids, warning_ids, at)
UPDATE warnings w SET closed_at = :at
FROM unnest(:chain_ids::uuid[], :warning_ids::uuid[]) AS mended (chain_id, warning_id)
WHERE w.chain_id = mended.chain_id AND w.warning_id = mended.warning_id AND w.closed_at IS NULL
RETURNING w.chain_id, w.warning_id;

-- name: note_warnings(chain_ids, warning_ids, mended_sinces, versions)!
-- Since when they have been well by themselves (null: they are not), and as of which version.
UPDATE warnings w SET mended_since = seen.mended_since, version = seen.version
FROM unnest(:chain_ids::uuid[], :warning_ids::uuid[], :mended_sinces::timestamptz[],
            :versions::bigint[]) AS seen (chain_id, warning_id, mended_since, version)
WHERE w.chain_id = seen.chain_id AND w.warning_id = seen.warning_id;

-- name: get_warnings(chain_ids, warning_ids)
-- With what a person calls the store and the code, and how they stand now.
SELECT w.*, s.name AS store_name, s.city, c.label, c.members, c.held, c.capacity, c.expires_at
FROM unnest(:chain_ids::uuid[], :warning_ids::uuid[]) AS asked (chain_id, warning_id)
JOIN warnings w USING (chain_id, warning_id)
LEFT JOIN stores s ON s.chain_id = w.chain_id AND s.store = w.store
LEFT JOIN codes c ON c.chain_id = w.chain_id AND c.code_id = w.code_id
ORDER BY w.warning_id;

-- name: list_warnings(chain_id, scope, store, past, before, most)
-- Newest first. `scope`: the stores that may be seen, null for all; `past`: those that are closed,
-- too; `before`: older than this one.
SELECT w.*, s.name AS store_name, s.city, c.label, c.members, c.held, c.capacity, c.expires_at
FROM warnings w
LEFT JOIN stores s ON s.chain_id = w.chain_id AND s.store = w.store
LEFT JOIN codes c ON c.chain_id = w.chain_id AND c.code_id = w.code_id
WHERE w.chain_id = :chain_id
  AND (:scope::text[] IS NULL OR w.store = ANY(:scope))
  AND (:store::text IS NULL OR w.store = :store)
  AND (:past OR w.closed_at IS NULL)
  AND (:before::uuid IS NULL OR w.warning_id < :before)
ORDER BY w.warning_id DESC LIMIT :most;

-- name: open_warnings(chain_id, scope, store, kinds, families, gravities, most)
-- The gravest of each family that a code or store has open, the gravest first.
SELECT * FROM (
    SELECT DISTINCT ON (w.subject, known.family)
           w.*, known.gravity, s.name AS store_name, s.city, c.label, c.members, c.held,
           c.capacity, c.expires_at
    FROM warnings w
    JOIN unnest(:kinds::text[], :families::text[], :gravities::int[])
        AS known (kind, family, gravity) USING (kind)
    LEFT JOIN stores s ON s.chain_id = w.chain_id AND s.store = w.store
    LEFT JOIN codes c ON c.chain_id = w.chain_id AND c.code_id = w.code_id
    WHERE w.chain_id = :chain_id AND w.closed_at IS NULL
      AND (:scope::text[] IS NULL OR w.store = ANY(:scope))
      AND (:store::text IS NULL OR w.store = :store)
    ORDER BY w.subject, known.family, known.gravity DESC
) AS gravest
ORDER BY gravity DESC, raised_at DESC, warning_id DESC LIMIT :most;

-- name: count_open(chain_id, scope)
SELECT kind, count(*)::int AS warnings FROM warnings
WHERE chain_id = :chain_id AND closed_at IS NULL
  AND (:scope::text[] IS NULL OR store = ANY(:scope))
GROUP BY kind ORDER BY kind;

-- name: forget_closed(days)!
DELETE FROM warnings WHERE closed_at < now() - make_interval(secs => :days::float8 * 86400);
