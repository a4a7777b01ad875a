-- firsts: what is written of visitors who have nothing yet, each kind by one statement, which is its
-- own transaction. Locks are taken in the journal's order: visitors, then codes; each by key.
-- Rows are found again by `n`, or by name in an object: joins without hashing, as these sessions have
-- them, would compare every row with every other.

-- name: open_scans(rows)
-- New scans of visitors who are not known: `n` of those that were written. Who is known after all is
-- left to others.
WITH asked AS MATERIALIZED (
    SELECT * FROM json_to_recordset(:rows::text::json) AS new (
        n int, chain_id uuid, scan_id uuid, entry text, placement text, unknown_placement text,
        visitor_id uuid, via text, bot text, browser text, language text, address_hash bytea,
        subnet_hash bytea, scanned_at timestamptz, routing_id uuid, outcome text, reason text,
        hops jsonb, choices jsonb, routed_at timestamptz)
), met AS (
    INSERT INTO visitors AS v (chain_id, visitor_id, entry)
    SELECT chain_id, visitor_id, entry FROM asked ORDER BY chain_id, visitor_id, entry
    ON CONFLICT (chain_id, visitor_id, entry) DO NOTHING
    RETURNING concat_ws(' ', v.chain_id, v.visitor_id, v.entry) AS key
), known AS MATERIALIZED (
    SELECT jsonb_object_agg(key, true) AS keys FROM met
), fresh AS MATERIALIZED (
    SELECT * FROM asked
    WHERE (SELECT keys FROM known) ? concat_ws(' ', chain_id, visitor_id, entry)
), opened AS (
    INSERT INTO scans (chain_id, scan_id, entry, placement, unknown_placement, visitor_id, via, bot,
                       browser, language, address_hash, subnet_hash, scanned_at)
    SELECT chain_id, scan_id, entry, placement, unknown_placement, visitor_id, via, bot,
           browser, language, address_hash, subnet_hash, scanned_at
    FROM fresh
), routed AS (
    INSERT INTO routings (chain_id, routing_id, scan_id, outcome, reason, hops, choices, routed_at)
    SELECT chain_id, routing_id, scan_id, outcome, reason, hops, choices, routed_at FROM fresh
), touched AS (
    INSERT INTO touched_scans (chain_id, scan_id) SELECT chain_id, scan_id FROM fresh
)
SELECT n, now() AS now FROM fresh;

-- name: locate(rows)
-- First positions of visitors who have nothing but their scan, as long as their row is at `revision`:
-- who is not answered has been changed by others meanwhile, and is left to others. `granted`: there was
-- a seat of `code_id`, or none was asked for; else nothing is written. With each comes what its code's
-- counters are then.
WITH asked AS MATERIALIZED (
    SELECT * FROM json_to_recordset(:rows::text::json) AS new (
        n int, chain_id uuid, visitor_id uuid, entry text, revision bigint, scan_id uuid,
        decided_at timestamptz, fix_id uuid, source text, datum text, coarse_lon float8,
        coarse_lat float8, lon float8, lat float8, accuracy_m float8, province text, city text,
        district text, routing_id uuid, outcome text, reason text, store text, distance_m float8,
        hops jsonb, choices jsonb, code_id uuid, hold_id uuid, held_until timestamptz,
        address_hash bytea, subnet_hash bytea)
), known AS MATERIALIZED (
    SELECT asked.* FROM asked
    JOIN visitors v ON v.chain_id = asked.chain_id AND v.visitor_id = asked.visitor_id
        AND v.entry = asked.entry
    WHERE v.revision = asked.revision
    ORDER BY v.chain_id, v.visitor_id, v.entry
    FOR UPDATE OF v
), wanted AS (
    SELECT chain_id, code_id, count(*)::int AS seats FROM known
    WHERE code_id IS NOT NULL
    GROUP BY chain_id, code_id
), locked AS (
    SELECT c.chain_id, c.code_id, c.members, c.held, c.revision,
           CASE WHEN c.status = 'active' AND (c.expires_at IS NULL OR c.expires_at > now())
                THEN least(wanted.seats, greatest(c.capacity - c.members - c.held, 0))
                ELSE 0 END AS granted
    FROM codes c JOIN wanted ON c.chain_id = wanted.chain_id AND c.code_id = wanted.code_id
    ORDER BY c.chain_id, c.code_id
    FOR UPDATE OF c
), counted AS (
    -- The row is set from what was locked: its constraint is checked before an update that has waited
    -- looks again.
    UPDATE codes c SET held = locked.held + locked.granted, revision = locked.revision + 1
    FROM locked
    WHERE c.chain_id = locked.chain_id AND c.code_id = locked.code_id
    RETURNING c.code_id, c.members, c.held, c.revision, locked.granted
), told AS MATERIALIZED (
    SELECT jsonb_object_agg(code_id, jsonb_build_array(granted, members, held, revision)) AS codes
    FROM counted
), placed AS MATERIALIZED (
    SELECT *, row_number() OVER (PARTITION BY chain_id, code_id ORDER BY n) AS turn,
           (SELECT codes FROM told) -> code_id::text AS counters
    FROM known
), served AS MATERIALIZED (
    SELECT * FROM placed WHERE code_id IS NULL OR turn <= (counters ->> 0)::int
), fixed AS (
    INSERT INTO fixes (chain_id, fix_id, scan_id, source, datum, lon, lat, accuracy_m, province,
                       city, district, fixed_at)
    SELECT chain_id, fix_id, scan_id, source, datum, coarse_lon, coarse_lat, accuracy_m, province,
           city, district, decided_at
    FROM served
), held AS (
    INSERT INTO holds (chain_id, hold_id, scan_id, visitor_id, entry, code_id, store, held_until,
                       address_hash, subnet_hash, held_at)
    SELECT chain_id, hold_id, scan_id, visitor_id, entry, code_id, store, held_until,
           address_hash, subnet_hash, now()
    FROM served WHERE code_id IS NOT NULL
), routed AS (
    INSERT INTO routings (chain_id, routing_id, scan_id, outcome, reason, source, accuracy_m,
                          province, city, district, store, distance_m, code_id, hold_id,
                          held_until, hops, choices, routed_at)
    SELECT chain_id, routing_id, scan_id, outcome, reason, source, accuracy_m,
           province, city, district, store, distance_m, code_id, hold_id,
           held_until, hops, choices, decided_at
    FROM served
), touched AS (
    INSERT INTO touched_scans (chain_id, scan_id) SELECT chain_id, scan_id FROM served
), moved AS (
    UPDATE visitors v
    SET revision = v.revision + 1, hold_id = served.hold_id, code_id = served.code_id,
        held_at = CASE WHEN served.code_id IS NOT NULL THEN served.decided_at END,
        lon = served.lon, lat = served.lat,
        accuracy_m = CASE WHEN served.lon IS NOT NULL THEN served.accuracy_m END,
        source = CASE WHEN served.lon IS NOT NULL THEN served.source END,
        located_at = CASE WHEN served.lon IS NOT NULL THEN served.decided_at END
    FROM served
    WHERE v.chain_id = served.chain_id AND v.visitor_id = served.visitor_id
      AND v.entry = served.entry
)
SELECT n, code_id, code_id IS NULL OR turn <= (counters ->> 0)::int AS granted,
       (counters ->> 1)::int AS members, (counters ->> 2)::int AS held,
       (counters ->> 3)::bigint AS revision, now() AS now
FROM placed;
