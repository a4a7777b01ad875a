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
-- Waits for its turn; until the transaction ends, everything is looked up by key.
SELECT pg_advisory_xact_lock(:lock),
    set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
    set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true);

-- name: make_batch()!
CREATE TEMPORARY TABLE IF NOT EXISTS rollup_batch (LIKE scan_stories) ON COMMIT DELETE ROWS;

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
    SELECT story.* FROM asked JOIN scan_stories AS story USING (chain_id, scan_id)
)
SELECT count(*) FROM taken;

-- name: number_stores()!
INSERT INTO report_stores (chain_id, number, store)
SELECT chain_id,
    row_number() OVER (PARTITION BY chain_id ORDER BY store)
        + coalesce((SELECT max(number) FROM report_stores k WHERE k.chain_id = new.chain_id), 0),
    store
FROM (SELECT DISTINCT chain_id, store FROM rollup_batch WHERE store IS NOT NULL) AS new
WHERE NOT EXISTS (
    SELECT FROM report_stores k WHERE k.chain_id = new.chain_id AND k.store = new.store
);

-- name: number_placements()!
INSERT INTO report_placements (chain_id, number, placement)
SELECT chain_id,
    row_number() OVER (PARTITION BY chain_id ORDER BY placement)
        + coalesce((SELECT max(number) FROM report_placements k WHERE k.chain_id = new.chain_id),
                   0),
    placement
FROM (SELECT DISTINCT chain_id, ARRAY[entry, placement] AS placement FROM rollup_batch) AS new
WHERE NOT EXISTS (
    SELECT FROM report_placements k
    WHERE k.chain_id = new.chain_id AND k.placement = new.placement
);

-- name: number_places()!
INSERT INTO report_places (chain_id, number, place)
SELECT chain_id,
    row_number() OVER (PARTITION BY chain_id ORDER BY place)
        + coalesce((SELECT max(number) FROM report_places k WHERE k.chain_id = new.chain_id), 0),
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
INSERT INTO visitor_numbers (chain_id, visitor_id, number)
SELECT chain_id, visitor_id,
    row_number() OVER (PARTITION BY chain_id ORDER BY first_id)
        + coalesce((SELECT max(number) FROM visitor_numbers k WHERE k.chain_id = new.chain_id), 0)
FROM (
    SELECT chain_id, visitor_id, min(scan_id::text) AS first_id FROM rollup_batch
    WHERE NOT bot GROUP BY chain_id, visitor_id
) AS new
WHERE NOT EXISTS (
    SELECT FROM visitor_numbers k
    WHERE k.chain_id = new.chain_id AND k.visitor_id = new.visitor_id
);

-- name: write_facts()!
-- The facts of the batch, and which chunks are to be made anew: the one that a changed scan is in,
-- or, if there is none, its minute's; or its hour's, if that is long past.
WITH numbered AS (
    SELECT b.chain_id, b.scan_id, b.scanned_at,
        coalesce(v.number, 0) AS visitor, p.number AS placement,
        coalesce(st.number, 0) AS store, coalesce(pl.number, 0) AS place,
        (b.bot::int + 2 * b.located::int + 4 * b.shown::int + 8 * b.pressed::int
            + 16 * b.reported::int + 32 * b.verified::int + 64 * b.joined::int
            + 128 * b."left"::int + 256 * (b.orders > 0)::int
            + 512 * coalesce(array_position(report_sources(), b.source), 0))::smallint AS stages,
        CASE WHEN b.lost IS NULL THEN 0
             ELSE coalesce(array_position(lost_reasons(), b.lost), 1) END::smallint AS lost,
        coalesce(lp.number, 0) AS lost_place,
        (round(b.lost_lon::numeric, 2) * 100)::int AS lost_lon,
        (round(b.lost_lat::numeric, 2) * 100)::int AS lost_lat,
        b.orders::int AS orders, round(b.revenue * 100)::bigint AS cents
    FROM rollup_batch b
    JOIN report_placements p
      ON p.chain_id = b.chain_id AND p.placement = ARRAY[b.entry, b.placement]
    LEFT JOIN visitor_numbers v
      ON v.chain_id = b.chain_id AND v.visitor_id = b.visitor_id AND NOT b.bot
    LEFT JOIN report_stores st ON st.chain_id = b.chain_id AND st.store = b.store
    LEFT JOIN report_places pl
      ON pl.chain_id = b.chain_id AND pl.place = ARRAY[b.province, b.city, b.district]
    LEFT JOIN report_places lp
      ON lp.chain_id = b.chain_id
     AND lp.place = ARRAY[b.lost_province, b.lost_city, b.lost_district]
), written AS (
    INSERT INTO scan_facts AS f (chain_id, scan_id, scanned_at, visitor, placement, store, place,
                                 stages, lost, lost_place, lost_lon, lost_lat, orders, cents)
    SELECT * FROM numbered
    ON CONFLICT (chain_id, scan_id) DO UPDATE
    SET scanned_at = excluded.scanned_at, visitor = excluded.visitor,
        placement = excluded.placement, store = excluded.store, place = excluded.place,
        stages = excluded.stages, lost = excluded.lost, lost_place = excluded.lost_place,
        lost_lon = excluded.lost_lon, lost_lat = excluded.lost_lat, orders = excluded.orders,
        cents = excluded.cents
    WHERE (f.scanned_at, f.visitor, f.placement, f.store, f.place, f.stages, f.lost, f.lost_place,
           f.lost_lon, f.lost_lat, f.orders, f.cents)
        IS DISTINCT FROM
          (excluded.scanned_at, excluded.visitor, excluded.placement, excluded.store,
           excluded.place, excluded.stages, excluded.lost, excluded.lost_place,
           excluded.lost_lon, excluded.lost_lat, excluded.orders, excluded.cents)
    RETURNING chain_id, scan_id
), minutes AS (
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

-- name: drop_chunks()!
DELETE FROM report_chunks c USING rollup_ranges r
WHERE c.chain_id = r.chain_id AND c.first_id >= r.first_id AND c.first_id < r.last_id;

-- name: pack_chunks()!
INSERT INTO report_chunks
SELECT r.chain_id, r.first_id, r.last_id, packed.*
FROM (
    SELECT *, max(last_id::text) OVER (
        PARTITION BY chain_id ORDER BY first_id, last_id DESC
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM rollup_ranges
) AS r
CROSS JOIN LATERAL (
    SELECT count(*)::int AS scans, min(f.scanned_at), max(f.scanned_at),
        coalesce(string_agg(int8send(f.at), ''), ''),
        coalesce(string_agg(int4send(f.visitor), ''), ''),
        coalesce(string_agg(int4send(f.placement), ''), ''),
        coalesce(string_agg(int4send(f.store), ''), ''),
        coalesce(string_agg(int4send(f.place), ''), ''),
        coalesce(string_agg(int2send(f.stages), ''), ''),
        coalesce(string_agg(int8send(f.at), '') FILTER (WHERE f.lost > 0), ''),
        coalesce(string_agg(int2send(f.lost), '') FILTER (WHERE f.lost > 0), ''),
        coalesce(string_agg(int4send(f.lost_place), '') FILTER (WHERE f.lost > 0), ''),
        coalesce(string_agg(int4send(coalesce(f.lost_lon, 2147483647)), '')
                 FILTER (WHERE f.lost > 0), ''),
        coalesce(string_agg(int4send(coalesce(f.lost_lat, 2147483647)), '')
                 FILTER (WHERE f.lost > 0), ''),
        coalesce(string_agg(int4send(f.row), '') FILTER (WHERE f.orders > 0 OR f.cents <> 0), ''),
        coalesce(string_agg(int4send(f.orders), '')
                 FILTER (WHERE f.orders > 0 OR f.cents <> 0), ''),
        coalesce(string_agg(int8send(f.cents), '')
                 FILTER (WHERE f.orders > 0 OR f.cents <> 0), '')
    FROM (
        SELECT *, (extract(epoch FROM scanned_at) * 1000000)::bigint AS at,
            (row_number() OVER (ORDER BY scan_id) - 1)::int AS row
        FROM scan_facts
        WHERE chain_id = r.chain_id AND scan_id >= r.first_id AND scan_id < r.last_id
        ORDER BY scan_id
    ) AS f
) AS packed
-- Ranges lie apart, or one within the other (which came before it then).
WHERE packed.scans > 0 AND (r.before IS NULL OR r.before <= r.first_id::text);

-- name: fresh(at)!
-- All that was committed before then has been taken off the queue.
UPDATE rollup_state SET fresh_until = greatest(fresh_until, :at::timestamptz);
