-- columns: the roll-ups as reports read them.

-- name: list_chunks(chain_id, since, until)
-- The chunks of a period, without what they hold; `lost` is how many went without a code.
SELECT first_id, revision, scans, length(losts) / 2 AS lost, first_at, last_at
FROM report_chunks
WHERE chain_id = :chain_id
  AND (:since::timestamptz IS NULL OR last_at >= :since)
  AND (:until::timestamptz IS NULL OR first_at < :until)
ORDER BY first_id;

-- name: read_chunks(chain_id, first_ids, scans, placements, stores, places, ats, losts, lost_ats)
-- What is wanted of these chunks; what is not is null.
SELECT revision,
    CASE WHEN :scans::boolean THEN stages END AS stages,
    CASE WHEN :scans THEN visitors END AS visitors,
    CASE WHEN :scans THEN paid_rows END AS paid_rows,
    CASE WHEN :scans THEN paid_orders END AS paid_orders,
    CASE WHEN :scans THEN paid_cents END AS paid_cents,
    CASE WHEN :placements::boolean THEN placements END AS placements,
    CASE WHEN :stores::boolean THEN stores END AS stores,
    CASE WHEN :places::boolean THEN places END AS places,
    CASE WHEN :ats::boolean THEN ats END AS ats,
    CASE WHEN :losts::boolean THEN losts END AS losts,
    CASE WHEN :losts THEN lost_places END AS lost_places,
    CASE WHEN :losts THEN lost_lons END AS lost_lons,
    CASE WHEN :losts THEN lost_lats END AS lost_lats,
    CASE WHEN :lost_ats::boolean THEN lost_ats END AS lost_ats
FROM report_chunks WHERE chain_id = :chain_id AND first_id = ANY(:first_ids::uuid[]);

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
