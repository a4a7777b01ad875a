-- journal: what many visitors do, in one transaction.
-- Locks are taken in one order by everybody: visitors, then codes, then holds; each by key.

-- name: read_scans(scan_ids, chain_ids)
-- All chains are named because scans are kept by chain, and a scan's id is all that a page knows.
SELECT chain_id, scan_id, entry, placement, visitor_id, bot, address_hash, subnet_hash FROM scans
WHERE chain_id = ANY(:chain_ids::uuid[]) AND scan_id = ANY(:scan_ids::uuid[]);

-- name: read_routings(chain_ids, scan_ids, since_ids)
-- All decisions of some scans, oldest first. None is older than `since_ids` says.
SELECT r.*
FROM unnest(:chain_ids::uuid[], :scan_ids::uuid[], :since_ids::uuid[])
    AS asked (chain_id, scan_id, since_id)
JOIN routings r ON r.chain_id = asked.chain_id AND r.scan_id = asked.scan_id
    AND r.routing_id >= asked.since_id
ORDER BY r.routing_id;

-- name: meet_visitors(chain_ids, visitor_ids, entries)
-- Makes the visitors known and locks them until the commit: the requests of one take turns, so that
-- two first scans at once cannot both take a seat.
WITH met AS (
    INSERT INTO visitors AS v (chain_id, visitor_id, entry)
    SELECT * FROM unnest(:chain_ids::uuid[], :visitor_ids::uuid[], :entries::text[])
        AS asked (chain_id, visitor_id, entry)
    ORDER BY chain_id, visitor_id, entry
    ON CONFLICT (chain_id, visitor_id, entry) DO UPDATE SET entry = excluded.entry
    RETURNING v.*
)
SELECT met.*, h.scan_id AS hold_scan_id, h.state AS hold_state, h.held_until, now() AS now
FROM met LEFT JOIN holds h ON h.chain_id = met.chain_id AND h.hold_id = met.hold_id;

-- name: lock_visitors(chain_ids, visitor_ids, entries)
-- The same for visitors who are known.
SELECT v.*, h.scan_id AS hold_scan_id, h.state AS hold_state, h.held_until, now() AS now
FROM unnest(:chain_ids::uuid[], :visitor_ids::uuid[], :entries::text[])
    AS asked (chain_id, visitor_id, entry)
JOIN visitors v USING (chain_id, visitor_id, entry)
LEFT JOIN holds h ON h.chain_id = v.chain_id AND h.hold_id = v.hold_id
ORDER BY v.chain_id, v.visitor_id, v.entry
FOR UPDATE OF v;

-- name: lock_codes(chain_ids, code_ids)
SELECT c.code_id FROM unnest(:chain_ids::uuid[], :code_ids::uuid[]) AS asked (chain_id, code_id)
JOIN codes c USING (chain_id, code_id)
ORDER BY c.chain_id, c.code_id
FOR UPDATE OF c;

-- name: settle_holds(chain_ids, hold_ids, states)
-- Seats that are joined or released, if they are still held. The codes are locked.
UPDATE holds h SET state = asked.state, settled_at = now()
FROM unnest(:chain_ids::uuid[], :hold_ids::uuid[], :states::text[])
    AS asked (chain_id, hold_id, state)
WHERE h.chain_id = asked.chain_id AND h.hold_id = asked.hold_id AND h.state = 'held'
RETURNING h.chain_id, h.hold_id, h.code_id;

-- name: late_holds(chain_ids, hold_ids)
-- Seats that somebody had, and gave up or let run out: they may join late.
SELECT h.chain_id, h.hold_id, h.code_id
FROM unnest(:chain_ids::uuid[], :hold_ids::uuid[]) AS asked (chain_id, hold_id)
JOIN holds h USING (chain_id, hold_id)
WHERE h.state IN ('expired', 'released');

-- name: join_late(chain_ids, hold_ids)!
UPDATE holds h SET state = 'joined', settled_at = now()
FROM unnest(:chain_ids::uuid[], :hold_ids::uuid[]) AS asked (chain_id, hold_id)
WHERE h.chain_id = asked.chain_id AND h.hold_id = asked.hold_id
  AND h.state IN ('expired', 'released');

-- name: write_joined(chain_ids, hold_ids, scan_ids, visitor_ids, entries, code_ids, stores, address_hashes, subnet_hashes)!
-- Members who were shown the code without a seat, while the database was away.
INSERT INTO holds (chain_id, hold_id, scan_id, visitor_id, entry, code_id, store, address_hash,
                   subnet_hash, state, held_at, held_until, settled_at)
SELECT *, 'joined', now(), now(), now() FROM unnest(
    :chain_ids::uuid[], :hold_ids::uuid[], :scan_ids::uuid[], :visitor_ids::uuid[],
    :entries::text[], :code_ids::uuid[], :stores::text[], :address_hashes::bytea[],
    :subnet_hashes::bytea[]);

-- name: lock_spool(spool_id)$
-- How many of a spool's records are in the database. Locked, so that nobody else writes them.
INSERT INTO spools AS s (spool_id) VALUES (:spool_id)
ON CONFLICT (spool_id) DO UPDATE SET spool_id = excluded.spool_id
RETURNING s.records;

-- name: mark_spool(spool_id, records)!
UPDATE spools SET records = :records, written_at = now() WHERE spool_id = :spool_id;

-- name: count_seats(chain_ids, code_ids, asked, joined, released, late)
-- By code: seats asked for, held seats that were joined and released, and seats that late joins ask
-- for. As many are granted as there is room for: the row's lock and this are what no race gets past.
WITH change AS (
    SELECT * FROM unnest(:chain_ids::uuid[], :code_ids::uuid[], :asked::int[], :joined::int[],
                         :released::int[], :late::int[])
        AS change (chain_id, code_id, asked, joined, released, late)
), locked AS (
    SELECT c.chain_id, c.code_id, change.asked, change.joined, change.released, change.late,
           greatest(c.capacity - c.members - c.held + change.released, 0) AS room,
           c.status = 'active' AND (c.expires_at IS NULL OR c.expires_at > now()) AS serves
    FROM codes c JOIN change ON c.chain_id = change.chain_id AND c.code_id = change.code_id
    ORDER BY c.chain_id, c.code_id
    FOR UPDATE OF c
), granted AS (
    SELECT *, least(late, room) AS late_granted,
           CASE WHEN serves THEN least(asked, room - least(late, room)) ELSE 0 END AS seats_granted
    FROM locked
)
UPDATE codes c
SET held = c.held + g.seats_granted - g.joined - g.released,
    members = c.members + g.joined + g.late_granted,
    revision = c.revision + 1
FROM granted g
WHERE c.chain_id = g.chain_id AND c.code_id = g.code_id
RETURNING c.code_id, c.members, c.held, c.revision, g.seats_granted, g.late_granted;

-- name: write_visits(fix_chain_ids, fix_ids, fix_scan_ids, sources, datums, lons, lats, accuracies_m, provinces, cities, districts, fixed_ats, hold_chain_ids, hold_ids, hold_scan_ids, hold_visitor_ids, hold_entries, hold_code_ids, hold_stores, held_untils, address_hashes, subnet_hashes, routing_chain_ids, routing_ids, routing_scan_ids, outcomes, reasons, routing_sources, routing_accuracies_m, routing_provinces, routing_cities, routing_districts, stores, distances_m, code_ids, routing_hold_ids, routing_held_untils, hops, choices, routed_ats, chain_ids, visitor_ids, entries, visitor_hold_ids, visitor_code_ids, held_ats, visitor_lons, visitor_lats, visitor_accuracies_m, visitor_sources, located_ats)!
-- Fixes, seats, decisions, and what is remembered of the visitors, whose rows are locked.
WITH fixed AS (
    INSERT INTO fixes (chain_id, fix_id, scan_id, source, datum, lon, lat, accuracy_m, province,
                       city, district, fixed_at)
    SELECT * FROM unnest(
        :fix_chain_ids::uuid[], :fix_ids::uuid[], :fix_scan_ids::uuid[], :sources::text[],
        :datums::text[], :lons::float8[], :lats::float8[], :accuracies_m::float8[],
        :provinces::text[], :cities::text[], :districts::text[], :fixed_ats::timestamptz[])
), held AS (
    INSERT INTO holds (chain_id, hold_id, scan_id, visitor_id, entry, code_id, store, held_until,
                       address_hash, subnet_hash, held_at)
    SELECT *, now() FROM unnest(
        :hold_chain_ids::uuid[], :hold_ids::uuid[], :hold_scan_ids::uuid[],
        :hold_visitor_ids::uuid[], :hold_entries::text[], :hold_code_ids::uuid[],
        :hold_stores::text[], :held_untils::timestamptz[], :address_hashes::bytea[],
        :subnet_hashes::bytea[])
), routed AS (
    INSERT INTO routings (chain_id, routing_id, scan_id, outcome, reason, source, accuracy_m,
                          province, city, district, store, distance_m, code_id, hold_id,
                          held_until, hops, choices, routed_at)
    SELECT new.chain_id, new.routing_id, new.scan_id, new.outcome, new.reason, new.source,
           new.accuracy_m, new.province, new.city, new.district, new.store, new.distance_m,
           new.code_id, new.hold_id, new.held_until, new.hops::jsonb, new.choices::jsonb, new.routed_at
    FROM unnest(
        :routing_chain_ids::uuid[], :routing_ids::uuid[], :routing_scan_ids::uuid[],
        :outcomes::text[], :reasons::text[], :routing_sources::text[],
        :routing_accuracies_m::float8[], :routing_provinces::text[], :routing_cities::text[],
        :routing_districts::text[], :stores::text[], :distances_m::float8[], :code_ids::uuid[],
        :routing_hold_ids::uuid[], :routing_held_untils::timestamptz[], :hops::text[],
        :choices::text[], :routed_ats::timestamptz[]
    ) AS new (chain_id, routing_id, scan_id, outcome, reason, source, accuracy_m, province, city,
              district, store, distance_m, code_id, hold_id, held_until, hops, choices, routed_at)
)
UPDATE visitors v
SET revision = v.revision + 1, hold_id = new.hold_id, code_id = new.code_id,
    held_at = new.held_at, lon = new.lon, lat = new.lat, accuracy_m = new.accuracy_m,
    source = new.source, located_at = new.located_at
FROM unnest(
    :chain_ids::uuid[], :visitor_ids::uuid[], :entries::text[], :visitor_hold_ids::uuid[],
    :visitor_code_ids::uuid[], :held_ats::timestamptz[], :visitor_lons::float8[],
    :visitor_lats::float8[], :visitor_accuracies_m::float8[], :visitor_sources::text[],
    :located_ats::timestamptz[]
) AS new (chain_id, visitor_id, entry, hold_id, code_id, held_at, lon, lat, accuracy_m, source,
          located_at)
WHERE v.chain_id = new.chain_id AND v.visitor_id = new.visitor_id AND v.entry = new.entry;

-- name: write_scans(chain_ids, scan_ids, entries, placements, unknown_placements, visitor_ids, vias, bots, browsers, languages, address_hashes, subnet_hashes, scanned_ats)!
INSERT INTO scans (chain_id, scan_id, entry, placement, unknown_placement, visitor_id, via, bot,
                   browser, language, address_hash, subnet_hash, scanned_at)
SELECT * FROM unnest(
    :chain_ids::uuid[], :scan_ids::uuid[], :entries::text[], :placements::text[],
    :unknown_placements::text[], :visitor_ids::uuid[], :vias::text[], :bots::text[],
    :browsers::text[], :languages::text[], :address_hashes::bytea[], :subnet_hashes::bytea[],
    :scanned_ats::timestamptz[]);

-- name: write_complaints(chain_ids, complaint_ids, scan_ids, visitor_ids, code_ids, stores, kinds, said_ats)!
INSERT INTO complaints (chain_id, complaint_id, scan_id, visitor_id, code_id, store, kind, said_at)
SELECT * FROM unnest(
    :chain_ids::uuid[], :complaint_ids::uuid[], :scan_ids::uuid[], :visitor_ids::uuid[],
    :code_ids::uuid[], :stores::text[], :kinds::text[], :said_ats::timestamptz[]);

-- name: remember_complaints(chain_ids, visitor_ids, entries, code_ids)!
-- With the visitor, for a day, which codes not to show them again.
UPDATE visitors v
SET reported = CASE WHEN v.reported_at > now() - interval '1 day'
                    THEN array_append(array_remove(v.reported, said.code_id), said.code_id)
                    ELSE ARRAY[said.code_id] END,
    reported_at = now()
FROM unnest(:chain_ids::uuid[], :visitor_ids::uuid[], :entries::text[], :code_ids::uuid[])
    AS said (chain_id, visitor_id, entry, code_id)
WHERE v.chain_id = said.chain_id AND v.visitor_id = said.visitor_id AND v.entry = said.entry;

-- name: write_evidence(chain_ids, evidence_ids, scan_ids, hold_ids, code_ids, stores, kinds, counts, seen_ats)!
-- The same evidence twice is kept once.
INSERT INTO evidence (chain_id, evidence_id, scan_id, hold_id, code_id, store, kind, counts,
                      seen_at)
SELECT new.* FROM unnest(
    :chain_ids::uuid[], :evidence_ids::uuid[], :scan_ids::uuid[], :hold_ids::uuid[],
    :code_ids::uuid[], :stores::text[], :kinds::text[], :counts::bool[],
    :seen_ats::timestamptz[])
    AS new (chain_id, evidence_id, scan_id, hold_id, code_id, store, kind, counts, seen_at)
WHERE NOT EXISTS (
    SELECT FROM evidence e
    WHERE e.chain_id = new.chain_id AND e.scan_id = new.scan_id AND e.kind = new.kind
      AND e.hold_id IS NOT DISTINCT FROM new.hold_id
);

-- name: write_joins(chain_ids, join_ids, scan_ids, hold_ids, visitor_ids, entries, placements, channels, code_ids, stores, provinces, cities, districts, sources, distances_m, distance_bands, evidence, joined_ats)!
INSERT INTO joins (chain_id, join_id, scan_id, hold_id, visitor_id, entry, placement, channel,
                   code_id, store, province, city, district, source, distance_m, distance_band,
                   evidence, joined_at)
SELECT * FROM unnest(
    :chain_ids::uuid[], :join_ids::uuid[], :scan_ids::uuid[], :hold_ids::uuid[],
    :visitor_ids::uuid[], :entries::text[], :placements::text[], :channels::text[],
    :code_ids::uuid[], :stores::text[], :provinces::text[], :cities::text[], :districts::text[],
    :sources::text[], :distances_m::float8[], :distance_bands::text[], :evidence::text[],
    :joined_ats::timestamptz[]);

-- name: strengthen_joins(chain_ids, hold_ids, evidence)!
-- pressed < reported < verified: a join keeps the best evidence that it has.
UPDATE joins j SET evidence = new.evidence
FROM unnest(:chain_ids::uuid[], :hold_ids::uuid[], :evidence::text[])
    AS new (chain_id, hold_id, evidence)
WHERE j.chain_id = new.chain_id AND j.hold_id = new.hold_id
  AND array_position(ARRAY['pressed', 'reported', 'verified'], j.evidence)
    < array_position(ARRAY['pressed', 'reported', 'verified'], new.evidence);
