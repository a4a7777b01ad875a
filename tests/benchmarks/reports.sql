-- The reports as they were asked of the raw rows before there were roll-ups: what `make bench
-- ARGS=reports` compares with.

-- name: plan_anew()!
-- Until the transaction ends, plan for the very period and filters that are asked for: a plan made
-- for any is ten times slower. (After five runs PostgreSQL would keep to such a one.)
SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('jit', 'off', true);

-- name: funnel(chain_id, by, since, until, entry, store, city, channel, scope)
-- One row a key, and the total with key_kind 'total'. `since` and `until` are instants, until
-- excluded; nulls do not filter. `scope`: the stores that may be seen, null for all.
WITH chain AS (
    SELECT timezone FROM chains WHERE chain_id = :chain_id
), scanned AS (
    SELECT s.scan_id, s.visitor_id, s.entry, s.placement, s.scanned_at, p.channel, p.variant
    FROM scans s
    LEFT JOIN placements p
      ON p.chain_id = s.chain_id AND p.entry = s.entry AND p.placement = s.placement
    WHERE s.chain_id = :chain_id AND s.bot IS NULL
      AND (:since::timestamptz IS NULL
           OR (s.scan_id >= uuid7_floor(:since::timestamptz - interval '1 minute')
               AND s.scanned_at >= :since))
      AND (:until::timestamptz IS NULL
           OR (s.scan_id < uuid7_floor(:until::timestamptz + interval '1 minute')
               AND s.scanned_at < :until))
      AND (:entry::text IS NULL OR s.entry = :entry)
      AND (:channel::text IS NULL OR p.channel = :channel)
), routed AS (
    SELECT DISTINCT ON (r.scan_id)
        r.scan_id, r.store, r.source, r.province, r.city, r.district,
        bool_or(r.outcome = 'code') OVER (PARTITION BY r.scan_id) AS shown,
        bool_or(r.source IS NOT NULL) OVER (PARTITION BY r.scan_id) AS located
    FROM routings r
    JOIN scanned ON scanned.scan_id = r.scan_id
    WHERE r.chain_id = :chain_id
    ORDER BY r.scan_id, (r.outcome = 'code') DESC, r.routing_id DESC
), witnessed AS (
    SELECT e.scan_id,
        bool_or(e.kind = 'pressed') AS pressed,
        bool_or(e.kind = 'reported') AS reported,
        bool_or(e.kind = 'verified') AS verified,
        bool_or(e.counts) AS joined,
        max(e.store) FILTER (WHERE e.counts) AS store
    FROM evidence e
    JOIN scanned ON scanned.scan_id = e.scan_id
    WHERE e.chain_id = :chain_id
    GROUP BY e.scan_id
), gone AS (
    SELECT j.scan_id, true AS gone
    FROM joins j
    JOIN scanned ON scanned.scan_id = j.scan_id
    WHERE j.chain_id = :chain_id AND j.left_at IS NOT NULL
    GROUP BY j.scan_id
), told AS (
    SELECT s.scan_id, s.visitor_id,
        coalesce(r.located, false) AS located,
        coalesce(r.shown, false) AS shown,
        coalesce(w.pressed, false) AS pressed,
        coalesce(w.reported, false) AS reported,
        coalesce(w.verified, false) AS verified,
        coalesce(w.joined, false) AS joined,
        coalesce(g.gone, false) AS gone,
        CASE :by::text
            WHEN 'store' THEN st.store
            WHEN 'brand' THEN st.brand
            WHEN 'province' THEN coalesce(st.province, r.province)
            WHEN 'city' THEN coalesce(st.city, r.city)
            WHEN 'district' THEN coalesce(st.district, r.district)
            WHEN 'entry' THEN s.entry
            WHEN 'placement' THEN s.placement
            WHEN 'channel' THEN s.channel
            WHEN 'variant' THEN s.variant
            WHEN 'source' THEN r.source
            WHEN 'day' THEN to_char(s.scanned_at AT TIME ZONE chain.timezone, 'YYYY-MM-DD')
            WHEN 'week' THEN to_char(s.scanned_at AT TIME ZONE chain.timezone, 'IYYY-"W"IW')
            WHEN 'month' THEN to_char(s.scanned_at AT TIME ZONE chain.timezone, 'YYYY-MM')
            WHEN 'hour' THEN to_char(s.scanned_at AT TIME ZONE chain.timezone, 'YYYY-MM-DD"T"HH24')
        END AS key
    FROM scanned s
    CROSS JOIN chain
    LEFT JOIN routed r USING (scan_id)
    LEFT JOIN witnessed w USING (scan_id)
    LEFT JOIN gone g USING (scan_id)
    LEFT JOIN stores st
      ON st.chain_id = :chain_id AND st.store = coalesce(w.store, r.store)
    WHERE (:store::text IS NULL OR st.store = :store)
      AND (:city::text IS NULL OR coalesce(st.city, r.city) = :city)
      AND (:scope::text[] IS NULL OR st.store = ANY(:scope))
)
SELECT CASE WHEN grouping(key) = 1 THEN 'total' ELSE 'row' END AS kind,
    key,
    count(*) AS scans,
    count(DISTINCT visitor_id) AS visitors,
    count(*) FILTER (WHERE located) AS located,
    count(*) FILTER (WHERE shown) AS shown,
    count(*) FILTER (WHERE pressed) AS pressed,
    count(*) FILTER (WHERE reported) AS reported,
    count(*) FILTER (WHERE verified) AS verified,
    count(*) FILTER (WHERE joined) AS joined,
    count(*) FILTER (WHERE gone) AS "left"
FROM told
GROUP BY GROUPING SETS ((key), ())
ORDER BY kind DESC, key NULLS LAST;

-- name: unserved(chain_id, since, until, scope_all)
-- Scans whose last word was "nothing for you", by reason and by where they were made; and those who
-- refused to tell their position and then picked no store (`denied`). Nobody's store, so a manager
-- sees none of it (`scope_all` false).
WITH last AS (
    SELECT DISTINCT ON (r.scan_id)
        r.scan_id, r.outcome, r.reason, r.province, r.city, r.district
    FROM routings r
    JOIN scans s ON s.chain_id = r.chain_id AND s.scan_id = r.scan_id AND s.bot IS NULL
    WHERE r.chain_id = :chain_id
      AND (:since::timestamptz IS NULL
           OR (r.routing_id >= uuid7_floor(:since::timestamptz - interval '1 minute')
               AND s.scanned_at >= :since))
      AND (:until::timestamptz IS NULL
           OR (s.scan_id < uuid7_floor(:until::timestamptz + interval '1 minute')
               AND s.scanned_at < :until))
    ORDER BY r.scan_id, r.routing_id DESC
), refused AS (
    SELECT c.scan_id FROM complaints c JOIN last ON last.scan_id = c.scan_id
    WHERE c.chain_id = :chain_id AND c.kind = 'denied'
    GROUP BY c.scan_id
), place AS (
    SELECT DISTINCT ON (f.scan_id) f.scan_id, f.lon, f.lat
    FROM fixes f JOIN last ON last.scan_id = f.scan_id
    WHERE f.chain_id = :chain_id
    ORDER BY f.scan_id, f.fix_id DESC
)
SELECT CASE last.outcome WHEN 'choose' THEN 'denied' ELSE last.reason END AS reason,
    last.province, last.city, last.district,
    round(place.lon::numeric, 2)::float8 AS lon, round(place.lat::numeric, 2)::float8 AS lat,
    count(*) AS scans
FROM last LEFT JOIN place USING (scan_id) LEFT JOIN refused USING (scan_id)
WHERE :scope_all::boolean
  AND (last.outcome = 'unserved' OR (last.outcome = 'choose' AND refused.scan_id IS NOT NULL))
GROUP BY 1, 2, 3, 4, 5, 6
ORDER BY scans DESC, reason, last.province, last.city, last.district, lon, lat;
