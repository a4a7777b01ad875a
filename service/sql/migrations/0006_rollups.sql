-- Reports are read from roll-ups: a scan's story as one narrow row (scan_facts), and those of many
-- scans as columns (report_chunks). docs/decisions/0015 says why.

-- What became of a scan, from the raw rows: the one definition of every stage of the funnel. A scan
-- is joined when it has evidence that reaches what its code is counted by. Its store is the one
-- whose code was joined, else the last that was shown, else the last that was thought of.
CREATE FUNCTION uuid7_time(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT to_timestamp(
        ('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint / 1000.0)
$$;

CREATE INDEX complaints_denied ON complaints (chain_id, scan_id) WHERE kind = 'denied';

-- The orders that were matched to a scan, and what they brought: refunds taken off. There are none
-- before orders are kept (a later migration).
CREATE FUNCTION orders_of_scan(chain uuid, scan uuid)
RETURNS TABLE (orders bigint, revenue numeric)
LANGUAGE sql STABLE AS $$ SELECT 0::bigint, 0::numeric $$;

-- No decision, evidence or join is older than its scan by more than two hosts' clocks are apart, and
-- none is from the future: the partitions that are made ahead are not looked into.
CREATE VIEW scan_stories AS
SELECT s.chain_id, s.scan_id, s.scanned_at, s.visitor_id, s.entry, s.placement,
    s.bot IS NOT NULL AS bot,
    coalesce(w.store, r.store) AS store,
    r.source, r.province, r.city, r.district,
    coalesce(r.located, false) AS located,
    coalesce(r.shown, false) AS shown,
    w.pressed, w.reported, w.verified, w.joined,
    -- No join is without evidence.
    CASE WHEN w.pressed OR w.reported OR w.verified THEN EXISTS (
        SELECT FROM joins j
        WHERE j.chain_id = s.chain_id AND j.scan_id = s.scan_id AND j.join_id >= born.since_id
          AND j.join_id < (SELECT uuid7_floor(now() + interval '1 day'))
          AND j.left_at IS NOT NULL
    ) ELSE false END AS "left",
    -- Why the visitor went without a code, if they did, and where they then were.
    lost.reason AS lost,
    CASE WHEN lost.reason IS NOT NULL THEN r.last_province END AS lost_province,
    CASE WHEN lost.reason IS NOT NULL THEN r.last_city END AS lost_city,
    CASE WHEN lost.reason IS NOT NULL THEN r.last_district END AS lost_district,
    stood.lon AS lost_lon, stood.lat AS lost_lat,
    coalesce(o.orders, 0) AS orders, coalesce(o.revenue, 0) AS revenue
FROM scans s
-- OFFSET 0: worked out once a scan, not once a use.
CROSS JOIN LATERAL (
    -- An hour is 55 times 2^16 milliseconds: this looks at the first four bytes alone.
    SELECT (lpad(to_hex(('x' || left(s.scan_id::text, 8))::bit(32)::bigint - 56), 8, '0')
            || '000000000000000000000000')::uuid AS since_id OFFSET 0
) AS born
LEFT JOIN LATERAL (
    SELECT r.store, r.source, r.province, r.city, r.district, r.outcome = 'code' AS shown,
        bool_or(r.source IS NOT NULL) OVER () AS located,
        first_value(r.outcome) OVER latest AS last_outcome,
        first_value(r.reason) OVER latest AS last_reason,
        first_value(r.province) OVER latest AS last_province,
        first_value(r.city) OVER latest AS last_city,
        first_value(r.district) OVER latest AS last_district
    FROM routings r
    WHERE r.chain_id = s.chain_id AND r.scan_id = s.scan_id AND r.routing_id >= born.since_id
          AND r.routing_id < (SELECT uuid7_floor(now() + interval '1 day'))
    WINDOW latest AS (ORDER BY r.routing_id DESC)
    ORDER BY (r.outcome = 'code') DESC, r.routing_id DESC
    LIMIT 1
) AS r ON true
CROSS JOIN LATERAL (
    SELECT coalesce(bool_or(e.kind = 'pressed'), false) AS pressed,
        coalesce(bool_or(e.kind = 'reported'), false) AS reported,
        coalesce(bool_or(e.kind = 'verified'), false) AS verified,
        coalesce(bool_or(e.counts), false) AS joined,
        max(e.store) FILTER (WHERE e.counts) AS store
    FROM evidence e
    WHERE e.chain_id = s.chain_id AND e.scan_id = s.scan_id AND e.evidence_id >= born.since_id
          AND e.evidence_id < (SELECT uuid7_floor(now() + interval '1 day'))
) AS w
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN s.bot IS NOT NULL THEN NULL
        WHEN r.last_outcome = 'unserved' THEN r.last_reason
        -- They would not tell where they are, and then picked no store.
        WHEN r.last_outcome = 'choose' AND EXISTS (
            SELECT FROM complaints c
            WHERE c.chain_id = s.chain_id AND c.scan_id = s.scan_id AND c.kind = 'denied'
              AND c.complaint_id >= born.since_id
        ) THEN 'denied'
    END AS reason OFFSET 0
) AS lost
LEFT JOIN LATERAL (
    SELECT f.lon, f.lat FROM fixes f
    WHERE f.chain_id = s.chain_id AND f.scan_id = s.scan_id AND f.fix_id >= born.since_id
      AND lost.reason IS NOT NULL
    ORDER BY f.fix_id DESC LIMIT 1
) AS stood ON true
LEFT JOIN LATERAL orders_of_scan(s.chain_id, s.scan_id) AS o ON true;

-- Scans of which something was written: in the same transaction as that, so that none is missed,
-- however late it commits. The roll-up takes them from here.
CREATE TABLE touched_scans (
    chain_id    uuid NOT NULL,
    scan_id     uuid NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

-- One row: everything that was committed before this moment is in the roll-ups.
CREATE TABLE rollup_state (
    one          boolean PRIMARY KEY DEFAULT true CHECK (one),
    fresh_until  timestamptz NOT NULL
);
INSERT INTO rollup_state (fresh_until) VALUES (now());

-- Months of which the raw rows are gone: roll-ups of them are all that there is.
CREATE TABLE dropped_months (
    month       date PRIMARY KEY,
    dropped_at  timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION is_dropped_month(id uuid) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM dropped_months
        WHERE month = date_trunc('month', uuid7_time(id) AT TIME ZONE 'UTC')::date)
$$;

-- What roll-ups write as numbers, each chain's own, from 1. What a store is (its city, its brand) is
-- looked up when a report is read, and so is a placement's channel.
CREATE TABLE report_stores (
    chain_id    uuid NOT NULL,
    number      integer NOT NULL,
    store       text NOT NULL,
    PRIMARY KEY (chain_id, number),
    UNIQUE (chain_id, store)
);
CREATE TABLE report_placements (
    chain_id    uuid NOT NULL,
    number      integer NOT NULL,
    -- Entry and placement; the placement may be null.
    placement   text[] NOT NULL,
    PRIMARY KEY (chain_id, number),
    UNIQUE (chain_id, placement)
);
CREATE TABLE report_places (
    chain_id    uuid NOT NULL,
    number      integer NOT NULL,
    -- Province, city, district; each may be null.
    place       text[] NOT NULL,
    PRIMARY KEY (chain_id, number),
    UNIQUE (chain_id, place)
);
CREATE TABLE visitor_numbers (
    chain_id    uuid NOT NULL,
    visitor_id  uuid NOT NULL,
    number      integer NOT NULL,
    PRIMARY KEY (chain_id, visitor_id),
    UNIQUE (chain_id, number)
);

-- The position of a reason here is its number; only ever add at the end.
CREATE FUNCTION lost_reasons() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY['other', 'position_needed', 'out_of_range', 'all_full', 'no_store',
                 'address_limit', 'denied', 'ambiguous_position', 'ip_only', 'fallback']
$$;
-- The same for where positions come from: `stages` has three bits for it.
CREATE FUNCTION report_sources() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT ARRAY['gps', 'wechat', 'ip', 'chosen'] $$;

CREATE TABLE scan_facts (
    chain_id    uuid NOT NULL,
    scan_id     uuid NOT NULL,
    scanned_at  timestamptz NOT NULL,
    -- Numbers, 0 for none.
    visitor     integer NOT NULL,
    placement   integer NOT NULL,
    store       integer NOT NULL,
    place       integer NOT NULL,
    -- Bits from the lowest: bot, located, shown, pressed, reported, verified, joined, left, ordered;
    -- then three for the number of the source.
    stages      smallint NOT NULL,
    lost        smallint NOT NULL,
    lost_place  integer NOT NULL,
    -- Hundredths of a degree.
    lost_lon    integer,
    lost_lat    integer,
    orders      integer NOT NULL,
    cents       bigint NOT NULL,
    PRIMARY KEY (chain_id, scan_id)
) PARTITION BY RANGE (scan_id);
INSERT INTO event_tables (name) VALUES ('scan_facts');

-- The facts of all scans with ids from first_id to below last_id, as columns: one array of
-- big-endian numbers each, in the order of the ids. Chunks are minutes at first, and hours and days
-- once they are quiet, so that each holds many scans, and few enough to be made anew when one of
-- them changes.
CREATE TABLE report_chunks (
    chain_id     uuid NOT NULL,
    first_id     uuid NOT NULL,
    last_id      uuid NOT NULL,
    scans        integer NOT NULL,
    first_at     timestamptz NOT NULL,
    last_at      timestamptz NOT NULL,
    ats          bytea NOT NULL, -- int64, microseconds since 1970
    visitors     bytea NOT NULL, -- int32
    placements   bytea NOT NULL, -- int32
    stores       bytea NOT NULL, -- int32
    places       bytea NOT NULL, -- int32
    stages       bytea NOT NULL, -- int16
    -- Of those that went without a code alone.
    lost_ats     bytea NOT NULL,
    losts        bytea NOT NULL, -- int16
    lost_places  bytea NOT NULL,
    lost_lons    bytea NOT NULL, -- int32, the highest if it is not known
    lost_lats    bytea NOT NULL,
    -- Of those with orders alone: the place in the arrays above, from 0; orders; hundredths.
    paid_rows    bytea NOT NULL, -- int32
    paid_orders  bytea NOT NULL, -- int32
    paid_cents   bytea NOT NULL, -- int64
    PRIMARY KEY (chain_id, first_id)
);
-- Compressing what is read a hundred times a day would cost more than it saves.
ALTER TABLE report_chunks
    ALTER ats SET STORAGE EXTERNAL, ALTER visitors SET STORAGE EXTERNAL,
    ALTER placements SET STORAGE EXTERNAL, ALTER stores SET STORAGE EXTERNAL,
    ALTER places SET STORAGE EXTERNAL, ALTER stages SET STORAGE EXTERNAL;

-- The chunk of a range of ids, made of the facts.
CREATE FUNCTION packed_facts(chain uuid, first_id uuid, last_id uuid) RETURNS SETOF report_chunks
LANGUAGE sql STABLE AS $$
    SELECT chain, first_id, last_id, count(*)::int, min(f.scanned_at), max(f.scanned_at),
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
        WHERE chain_id = chain AND scan_id >= packed_facts.first_id
          AND scan_id < packed_facts.last_id
        ORDER BY scan_id
    ) AS f
$$;

-- Everything that was there before is rolled up by the first rounds.
INSERT INTO touched_scans (chain_id, scan_id) SELECT chain_id, scan_id FROM scans;
DO $$
DECLARE
    month date;
BEGIN
    FOR month IN SELECT DISTINCT (date_trunc('month', uuid7_time(scan_id) AT TIME ZONE 'UTC'))::date
                 FROM scans
    LOOP
        PERFORM ensure_month(month);
    END LOOP;
END
$$;
