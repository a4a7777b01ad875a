-- rollups: what reports are read from, kept equal to the raw rows. One session at a time.

-- name: touch(chain_id, scan_ids)!
-- These scans' stories have changed, by the transaction that this runs in.
INSERT INTO touched_scans (chain_id, scan_id) SELECT :chain_id, unnest(:scan_ids::uuid[]);

-- name: waiting(most)$
-- How many touches wait, as far as `most`.
SELECT count(*) FROM (SELECT FROM touched_scans LIMIT :most) AS touched;

-- name: freshness()^
-- Up to when all that was committed is in the roll-ups, as this snapshot has them.
SELECT CASE WHEN EXISTS (SELECT FROM touched_scans) THEN fresh_until ELSE now() END AS as_of
FROM rollup_state;

-- name: begin(lock)!
-- Waits for its turn; until the transaction ends, everything is looked up by key. The view of stories
-- joins more tables than PostgreSQL reorders by itself: it would tell the stories of all scans, and
-- then compare each with each that was asked for.
SELECT pg_advisory_xact_lock(:lock),
    set_config('from_collapse_limit', '20', true), set_config('join_collapse_limit', '20', true),
    set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
    set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true);

-- name: make_batch()!
CREATE TEMPORARY TABLE IF NOT EXISTS rollup_batch (LIKE scan_stories) ON COMMIT DELETE ROWS;

-- name: make_facts()!
CREATE TEMPORARY TABLE IF NOT EXISTS rollup_facts (LIKE scan_facts) ON COMMIT DELETE ROWS;

-- name: make_ranges()!
CREATE TEMPORARY TABLE IF NOT EXISTS rollup_ranges (chain_id uuid, first_id uuid, last_id uuid)
    ON COMMIT DELETE ROWS;

-- name: take(most)$
-- Takes touches off the queue and reads what became of those scans; how many were taken. Of a scan
-- whose raw rows are gone, nothing is read, and what is known of it stays.
WITH taken AS (
    DELETE FROM touched_scans
    WHERE ctid = ANY(ARRAY(SELECT ctid FROM touched_scans LIMIT :most))
    RETURNING chain_id, scan_id
), asked AS MATERIALIZED (
    SELECT DISTINCT chain_id, scan_id FROM taken
), told AS (
    INSERT INTO rollup_batch
    -- OFFSET 0: scan by scan. Otherwise all stories are read, and joined with what was asked.
    SELECT story.* FROM asked CROSS JOIN LATERAL (
        SELECT * FROM scan_stories AS s
        WHERE s.chain_id = asked.chain_id AND s.scan_id = asked.scan_id OFFSET 0
    ) AS story
)
SELECT count(*) FROM taken;

-- name: number_stores()!
WITH highest AS MATERIALIZED (
    SELECT chain_id, (SELECT coalesce(max(number), 0) FROM report_stores k
                      WHERE k.chain_id = chains.chain_id) AS number
    FROM (SELECT DISTINCT chain_id FROM rollup_batch) AS chains
)
INSERT INTO report_stores (chain_id, number, store)
SELECT chain_id,
    row_number() OVER (PARTITION BY chain_id ORDER BY store)
        + (SELECT number FROM highest h WHERE h.chain_id = new.chain_id),
    store
FROM (SELECT DISTINCT chain_id, store FROM rollup_batch WHERE store IS NOT NULL) AS new
WHERE NOT EXISTS (
    SELECT FROM report_stores k WHERE k.chain_id = new.chain_id AND k.store = new.store
);

-- name: number_placements()!
WITH highest AS MATERIALIZED (
    SELECT chain_id, (SELECT coalesce(max(number), 0) FROM report_placements k
                      WHERE k.chain_id = chains.chain_id) AS number
    FROM (SELECT DISTINCT chain_id FROM rollup_batch) AS chains
)
INSERT INTO report_placements (chain_id, number, placement)
SELECT chain_id,
    row_number() OVER (PARTITION BY chain_id ORDER BY placement)
        + (SELECT number FROM highest h WHERE h.chain_id = new.chain_id),
    placement
FROM (SELECT DISTINCT chain_id, ARRAY[entry, placement] AS placement FROM rollup_batch) AS new
WHERE NOT EXISTS (
    SELECT FROM report_placements k
    WHERE k.chain_id = new.chain_id AND k.placement = new.placement
);

-- name: number_places()!
WITH highest AS MATERIALIZED (
    SELECT chain_id, (SELECT coalesce(max(number), 0) FROM report_places k
                      WHERE k.chain_id = chains.chain_id) AS number
    FROM (SELECT DISTINCT chain_id FROM rollup_batch) AS chains
)
INSERT INTO report_places (chain_id, number, place)
SELECT chain_id,
    row_number() OVER (PARTITION BY chain_id ORDER BY place)
        + (SELECT number FROM highest h WHERE h.chain_id = new.chain_id),
    place
FROM (
    SELECT chain_id, ARRAY[province, city, district] AS place FROM rollup_batch
    UNION
    SELECT chain_id, ARRAY[lost_province, lost_city, lost_district] FROM rollup_batch
) AS new
WHERE place <> '{null,null,null}' AND NOT EXISTS (
    SELECT FROM report_places k WHERE k.chain_id = new.chain_id AND k.place = new.place
);

-- name: number_visitors()!
-- In the order in which they first came: neighbours in time are neighbours in number.
WITH highest AS MATERIALIZED (
    SELECT chain_id, (SELECT coalesce(max(number), 0) FROM visitor_numbers k
                      WHERE k.chain_id = chains.chain_id) AS number
    FROM (SELECT DISTINCT chain_id FROM rollup_batch) AS chains
)
INSERT INTO visitor_numbers (chain_id, visitor_id, number)
SELECT chain_id, visitor_id,
    row_number() OVER (PARTITION BY chain_id ORDER BY first_id)
        + (SELECT number FROM highest h WHERE h.chain_id = new.chain_id)
FROM (
    SELECT chain_id, visitor_id, min(scan_id::text) AS first_id FROM rollup_batch
    WHERE NOT bot GROUP BY chain_id, visitor_id
) AS new
WHERE NOT EXISTS (
    SELECT FROM visitor_numbers k
    WHERE k.chain_id = new.chain_id AND k.visitor_id = new.visitor_id
);

-- name: number_facts()!
-- The batch's stories as facts.
INSERT INTO rollup_facts (chain_id, scan_id, scanned_at, visitor, placement, store, place, stages,
                          lost, lost_place, lost_lon, lost_lat, orders, cents)
SELECT b.chain_id, b.scan_id, b.scanned_at,
    coalesce(v.number, 0), coalesce(p.number, 0), coalesce(st.number, 0), coalesce(pl.number, 0),
    (b.bot::int + 2 * b.located::int + 4 * b.shown::int + 8 * b.pressed::int
        + 16 * b.reported::int + 32 * b.verified::int + 64 * b.joined::int
        + 128 * b."left"::int + 256 * (b.orders > 0)::int
        + 512 * coalesce(array_position(report_sources(), b.source), 0))::smallint,
    CASE WHEN b.lost IS NULL THEN 0
         ELSE coalesce(array_position(lost_reasons(), b.lost), 1) END::smallint,
    coalesce(lp.number, 0),
    (round(b.lost_lon::numeric, 2) * 100)::int, (round(b.lost_lat::numeric, 2) * 100)::int,
    b.orders::int, round(b.revenue * 100)::bigint
FROM rollup_batch b
LEFT JOIN report_placements p
  ON p.chain_id = b.chain_id AND p.placement = ARRAY[b.entry, b.placement]
LEFT JOIN visitor_numbers v
  ON v.chain_id = b.chain_id AND v.visitor_id = b.visitor_id AND NOT b.bot
LEFT JOIN report_stores st ON st.chain_id = b.chain_id AND st.store = b.store
LEFT JOIN report_places pl
  ON pl.chain_id = b.chain_id AND pl.place = ARRAY[b.province, b.city, b.district]
LEFT JOIN report_places lp
  ON lp.chain_id = b.chain_id
 AND lp.place = ARRAY[b.lost_province, b.lost_city, b.lost_district];

-- name: write_facts()!
-- Keeps the facts, and says which chunks are to be made anew: the one that a changed scan is in, or,
-- if there is none, its minute's; or its hour's, if that is long past.
WITH written AS (
    INSERT INTO scan_facts AS f (chain_id, scan_id, scanned_at, visitor, placement, store, place,
                                 stages, lost, lost_place, lost_lon, lost_lat, orders, cents)
    SELECT chain_id, scan_id, scanned_at, visitor, placement, store, place, stages, lost,
        lost_place, lost_lon, lost_lat, orders, cents
    FROM rollup_facts
    ON CONFLICT (chain_id, scan_id) DO UPDATE
    SET scanned_at = excluded.scanned_at, visitor = excluded.visitor,
        placement = excluded.placement, store = excluded.store, place = excluded.place,
        stages = excluded.stages, lost = excluded.lost, lost_place = excluded.lost_place,
        lost_lon = excluded.lost_lon, lost_lat = excluded.lost_lat, orders = excluded.orders,
        cents = excluded.cents
    WHERE row(f.*) IS DISTINCT FROM row(excluded.*)
    RETURNING chain_id, scan_id
), minutes AS MATERIALIZED (
    SELECT chain_id, minute, uuid7_floor(minute) AS first_id
    FROM (SELECT DISTINCT chain_id, date_trunc('minute', uuid7_time(scan_id), 'UTC') AS minute
          FROM written) AS touched
)
INSERT INTO rollup_ranges (chain_id, first_id, last_id)
SELECT DISTINCT m.chain_id, coalesce(c.first_id, slot.first_id), coalesce(c.last_id, slot.last_id)
FROM minutes m
LEFT JOIN LATERAL (
    SELECT c.first_id, c.last_id FROM report_chunks c
    WHERE c.chain_id = m.chain_id AND c.first_id <= m.first_id
    ORDER BY c.first_id DESC LIMIT 1
) AS c ON c.last_id > m.first_id
CROSS JOIN LATERAL (
    SELECT uuid7_floor(date_trunc(step, m.minute, 'UTC')) AS first_id,
        uuid7_floor(date_trunc(step, m.minute, 'UTC') + ('1 ' || step)::interval) AS last_id
    FROM (SELECT CASE WHEN m.minute < now() - interval '2 hours' THEN 'hour'
                      ELSE 'minute' END AS step) AS age
) AS slot;

-- name: ranges_to_merge(most)!
-- Quiet hours of which there are several chunks, and days if all of it is small enough for one.
WITH counted AS (
    SELECT chain_id, step, date_trunc(step, uuid7_time(first_id), 'UTC') AS start
    FROM report_chunks CROSS JOIN unnest(ARRAY['hour', 'day']) AS step
    GROUP BY chain_id, step, start
    HAVING count(*) > 1 AND (
        (step = 'hour' AND max(last_at) < now() - interval '10 minutes')
        OR (step = 'day' AND max(last_at) < now() - interval '3 hours' AND sum(scans) <= 20000))
    LIMIT :most
)
INSERT INTO rollup_ranges (chain_id, first_id, last_id)
SELECT chain_id, uuid7_floor(start), uuid7_floor(start + ('1 ' || step)::interval) FROM counted;

-- name: spare_dropped()!
-- What is known of months whose raw rows are gone stays as it is.
DELETE FROM rollup_ranges WHERE is_dropped_month(first_id);

-- name: drop_chunks()!
DELETE FROM report_chunks c USING rollup_ranges r
WHERE c.chain_id = r.chain_id AND c.first_id >= r.first_id AND c.first_id < r.last_id;

-- name: pack_chunks()!
-- Ranges lie apart, or one within the other (which came before it then).
INSERT INTO report_chunks
SELECT packed.*
FROM (
    SELECT *, max(last_id::text) OVER (
        PARTITION BY chain_id ORDER BY first_id, last_id DESC
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM rollup_ranges
) AS r
CROSS JOIN LATERAL packed_facts(r.chain_id, r.first_id, r.last_id, gen_random_uuid()) AS packed
WHERE packed.scans > 0 AND (r.before IS NULL OR r.before <= r.first_id::text);

-- name: fresh(at)!
-- All that was committed before then has been taken off the queue.
UPDATE rollup_state SET fresh_until = greatest(fresh_until, :at::timestamptz);

-- name: raw_span(chain_id)^
-- When the first and the last scan were made whose raw rows are there.
SELECT uuid7_time((SELECT scan_id FROM scans WHERE chain_id = :chain_id ORDER BY scan_id LIMIT 1))
        AS first_at,
    uuid7_time((SELECT scan_id FROM scans WHERE chain_id = :chain_id
                ORDER BY scan_id DESC LIMIT 1)) AS last_at;

-- name: is_dropped(since, until)$
-- Whether the raw rows of any of this time are gone.
SELECT EXISTS (
    SELECT FROM dropped_months
    WHERE month::timestamp AT TIME ZONE 'UTC' < :until
      AND (month + interval '1 month') AT TIME ZONE 'UTC' > :since
);

-- name: read_stories(chain_id, since, until)!
-- What became of a time's scans, but for those of which something is still to be followed.
INSERT INTO rollup_batch
SELECT story.* FROM scan_stories AS story
WHERE story.chain_id = :chain_id
  AND story.scan_id >= uuid7_floor(:since::timestamptz - interval '1 hour')
  AND story.scan_id < uuid7_floor(:until::timestamptz + interval '1 hour')
  AND story.scanned_at >= :since AND story.scanned_at < :until
  AND NOT EXISTS (
      SELECT FROM touched_scans t
      WHERE t.chain_id = story.chain_id AND t.scan_id = story.scan_id);

-- name: compare_facts(chain_id, since, until)^
-- How many scans there are, and how many facts are missing, too many, or not as the raw rows say.
SELECT count(told.scan_id) AS scans,
    count(*) FILTER (WHERE kept.scan_id IS NULL) AS missing,
    count(*) FILTER (WHERE told.scan_id IS NULL) AS surplus,
    count(*) FILTER (WHERE kept.scan_id IS NOT NULL AND told.scan_id IS NOT NULL
                     AND row(kept.*) IS DISTINCT FROM row(told.*)) AS wrong
FROM rollup_facts AS told
FULL JOIN (
    SELECT f.* FROM scan_facts f
    WHERE f.chain_id = :chain_id
      AND f.scan_id >= uuid7_floor(:since::timestamptz - interval '1 hour')
      AND f.scan_id < uuid7_floor(:until::timestamptz + interval '1 hour')
      AND f.scanned_at >= :since AND f.scanned_at < :until
      AND NOT EXISTS (
          SELECT FROM touched_scans t WHERE t.chain_id = f.chain_id AND t.scan_id = f.scan_id)
) AS kept ON kept.scan_id = told.scan_id;

-- name: compare_chunks(chain_id, since, until)^
-- How many chunks hold other than the facts say, and how many facts are in no chunk or in several.
SELECT
    (SELECT count(*)
     FROM report_chunks c, packed_facts(c.chain_id, c.first_id, c.last_id, c.revision) AS p
     WHERE c.chain_id = :chain_id AND c.first_at < :until AND c.last_at >= :since
       AND NOT is_dropped_month(c.first_id) AND row(c.*) IS DISTINCT FROM row(p.*)) AS wrong,
    (SELECT count(*) FROM scan_facts f
     WHERE f.chain_id = :chain_id
       AND f.scan_id >= uuid7_floor(:since::timestamptz - interval '1 hour')
       AND f.scan_id < uuid7_floor(:until::timestamptz + interval '1 hour')
       AND f.scanned_at >= :since AND f.scanned_at < :until
       AND 1 <> (SELECT count(*) FROM report_chunks c
                 WHERE c.chain_id = f.chain_id AND c.first_id <= f.scan_id
                   AND c.last_id > f.scan_id)) AS outside;

-- name: forget_facts(chain_id, since, until)!
-- Facts of scans that are not there.
DELETE FROM scan_facts f
WHERE f.chain_id = :chain_id
  AND f.scan_id >= uuid7_floor(:since::timestamptz - interval '1 hour')
  AND f.scan_id < uuid7_floor(:until::timestamptz + interval '1 hour')
  AND NOT EXISTS (SELECT FROM scans s WHERE s.chain_id = f.chain_id AND s.scan_id = f.scan_id);

-- name: touch_time(chain_id, since, until)!
INSERT INTO touched_scans (chain_id, scan_id)
SELECT chain_id, scan_id FROM scans
WHERE chain_id = :chain_id
  AND scan_id >= uuid7_floor(:since::timestamptz - interval '1 hour')
  AND scan_id < uuid7_floor(:until::timestamptz + interval '1 hour');

-- name: ranges_of_time(chain_id, since, until)!
-- The hours of a time, and the chunks that are there, to be made anew.
INSERT INTO rollup_ranges (chain_id, first_id, last_id)
SELECT :chain_id::uuid, uuid7_floor(hour), uuid7_floor(hour + interval '1 hour')
FROM generate_series(date_trunc('hour', :since::timestamptz, 'UTC') - interval '1 hour',
                     date_trunc('hour', :until::timestamptz, 'UTC') + interval '1 hour',
                     interval '1 hour') AS hour
UNION ALL
SELECT chain_id, first_id, last_id FROM report_chunks
WHERE chain_id = :chain_id
  AND last_id > uuid7_floor(:since::timestamptz - interval '1 hour')
  AND first_id < uuid7_floor(:until::timestamptz + interval '1 hour');
