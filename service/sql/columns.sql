-- columns: the roll-ups as reports read them.

-- name: read_chunks(chain_id, since, until, placements, stores, places, ats)
-- What is not wanted is null. Times only where they are wanted, or tell who is outside the period.
SELECT scans, first_at, last_at, stages, visitors, paid_rows, paid_orders, paid_cents,
    CASE WHEN :placements::boolean THEN placements END AS placements,
    CASE WHEN :stores::boolean THEN stores END AS stores,
    CASE WHEN :places::boolean THEN places END AS places,
    CASE WHEN :ats::boolean OR first_at < :since OR last_at >= :until THEN ats END AS ats
FROM report_chunks
WHERE chain_id = :chain_id
  AND (:since::timestamptz IS NULL OR last_at >= :since)
  AND (:until::timestamptz IS NULL OR first_at < :until)
ORDER BY first_id;

-- name: read_lost(chain_id, since, until)
SELECT first_at, last_at, length(losts) / 2 AS lost, losts, lost_places, lost_lons, lost_lats,
    CASE WHEN first_at < :since OR last_at >= :until THEN lost_ats END AS lost_ats
FROM report_chunks
WHERE chain_id = :chain_id
  AND (:since::timestamptz IS NULL OR last_at >= :since)
  AND (:until::timestamptz IS NULL OR first_at < :until)
ORDER BY first_id;

-- name: span(chain_id, since, until)^
-- When the first and the last of the scans are that may lie in the period.
SELECT min(first_at) AS first_at, max(last_at) AS last_at FROM report_chunks
WHERE chain_id = :chain_id
  AND (:since::timestamptz IS NULL OR last_at >= :since)
  AND (:until::timestamptz IS NULL OR first_at < :until);

-- name: read_stores(chain_id)
SELECT k.number, s.store, s.brand, s.province, s.city, s.district
FROM report_stores k LEFT JOIN stores s USING (chain_id, store)
WHERE k.chain_id = :chain_id ORDER BY k.number;

-- name: read_placements(chain_id)
SELECT k.number, k.placement[1] AS entry, k.placement[2] AS placement, p.channel, p.variant
FROM report_placements k
LEFT JOIN placements p ON p.chain_id = k.chain_id AND p.entry = k.placement[1]
    AND p.placement = k.placement[2]
WHERE k.chain_id = :chain_id ORDER BY k.number;

-- name: read_places(chain_id)
SELECT number, place[1] AS province, place[2] AS city, place[3] AS district
FROM report_places WHERE chain_id = :chain_id ORDER BY number;

-- name: read_names()^
SELECT report_sources() AS sources, lost_reasons() AS reasons;
