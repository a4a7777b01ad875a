-- journal: what many visitors do, in one transaction.
-- Locks are taken in one order by everybody: visitors, then codes, then holds; each by key.

-- name: read_scans(scan_ids, since_ids, chain_ids)
-- All chains are named because scans are kept by chain, and a scan's id is all that a page knows.
-- With each, its visitor's revision, and whether they have nothing yet; if so, a row for each of the
-- scan's decisions, oldest first, of which none is older than `since_ids` says.
SELECT s.chain_id, s.scan_id, s.entry, s.placement, s.visitor_id, s.bot, s.address_hash,
       s.subnet_hash, v.revision,
       v.hold_id IS NULL AND v.lon IS NULL AND v.reported = '{}' AS blank,
       r.outcome, r.reason, r.source, r.accuracy_m, r.province, r.city, r.district, r.store,
       r.distance_m, r.code_id, r.hold_id, r.held_until, r.hops, r.choices, r.routed_at
FROM unnest(:scan_ids::uuid[], :since_ids::uuid[]) AS asked (scan_id, since_id)
JOIN scans s ON s.chain_id = ANY(:chain_ids::uuid[]) AND s.scan_id = asked.scan_id
LEFT JOIN visitors v
  ON v.chain_id = s.chain_id AND v.visitor_id = s.visitor_id AND v.entry = s.entry
LEFT JOIN routings r
  ON v.hold_id IS NULL AND v.lon IS NULL AND v.reported = '{}'
 AND r.chain_id = s.chain_id AND r.scan_id = s.scan_id AND r.routing_id >= asked.since_id
ORDER BY r.routing_id;

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
SELECT met.*, now() AS now FROM met;

-- name: lock_visitors(chain_ids, visitor_ids, entries)
-- The same for visitors who are known.
SELECT v.*, now() AS now
FROM unnest(:chain_ids::uuid[], :visitor_ids::uuid[], :entries::text[])
    AS asked (chain_id, visitor_id, entry)
JOIN visitors v USING (chain_id, visitor_id, entry)
ORDER BY v.chain_id, v.visitor_id, v.entry
FOR UPDATE OF v;

-- name: read_holds(chain_ids, hold_ids)
-- The seats of visitors who are locked. A statement of its own: the one that waited for the lock
-- sees the holds as they were before it waited.
SELECT h.hold_id, h.scan_id, h.code_id, h.state, h.held_until
FROM unnest(:chain_ids::uuid[], :hold_ids::uuid[]) AS asked (chain_id, hold_id)
JOIN holds h USING (chain_id, hold_id);

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
-- The row is set from what was locked: its constraint is checked before an update that has waited
-- looks again.
WITH change AS (
    SELECT * FROM unnest(:chain_ids::uuid[], :code_ids::uuid[], :asked::int[], :joined::int[],
                         :released::int[], :late::int[])
        AS change (chain_id, code_id, asked, joined, released, late)
), locked AS (
    SELECT c.chain_id, c.code_id, c.members, c.held, c.revision,
           change.asked, change.joined, change.released, change.late,
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
SET held = g.held + g.seats_granted - g.joined - g.released,
    members = g.members + g.joined + g.late_granted,
    revision = g.revision + 1
FROM granted g
WHERE c.chain_id = g.chain_id AND c.code_id = g.code_id
RETURNING c.code_id, c.members, c.held, c.revision, g.seats_granted, g.late_granted;

-- name: write_visits(fixes, holds, routings, visitors)!
-- Fixes, seats, decisions, and what is remembered of the visitors, whose rows are locked.
WITH fixed AS (
    INSERT INTO fixes (chain_id, fix_id, scan_id, source, datum, lon, lat, accuracy_m, province,
                       city, district, fixed_at)
    SELECT * FROM json_to_recordset(:fixes::text::json) AS new (
        chain_id uuid, fix_id uuid, scan_id uuid, source text, datum text, lon float8, lat float8,
        accuracy_m float8, province text, city text, district text, fixed_at timestamptz)
), held AS (
    INSERT INTO holds (chain_id, hold_id, scan_id, visitor_id, entry, code_id, store, held_until,
                       address_hash, subnet_hash, held_at)
    SELECT *, now() FROM json_to_recordset(:holds::text::json) AS new (
        chain_id uuid, hold_id uuid, scan_id uuid, visitor_id uuid, entry text, code_id uuid,
        store text, held_until timestamptz, address_hash bytea, subnet_hash bytea)
), routed AS (
    INSERT INTO routings (chain_id, routing_id, scan_id, outcome, reason, source, accuracy_m,
                          province, city, district, store, distance_m, code_id, hold_id,
                          held_until, hops, choices, routed_at)
    SELECT * FROM json_to_recordset(:routings::text::json) AS new (
        chain_id uuid, routing_id uuid, scan_id uuid, outcome text, reason text, source text,
        accuracy_m float8, province text, city text, district text, store text,
        distance_m float8, code_id uuid, hold_id uuid, held_until timestamptz, hops jsonb,
        choices jsonb, routed_at timestamptz)
)
UPDATE visitors v
SET revision = v.revision + 1, hold_id = new.hold_id, code_id = new.code_id,
    held_at = new.held_at, lon = new.lon, lat = new.lat, accuracy_m = new.accuracy_m,
    source = new.source, located_at = new.located_at
FROM json_to_recordset(:visitors::text::json) AS new (
    chain_id uuid, visitor_id uuid, entry text, hold_id uuid, code_id uuid, held_at timestamptz,
    lon float8, lat float8, accuracy_m float8, source text, located_at timestamptz)
WHERE v.chain_id = new.chain_id AND v.visitor_id = new.visitor_id AND v.entry = new.entry;

-- name: write_scans(rows)!
INSERT INTO scans (chain_id, scan_id, entry, placement, unknown_placement, visitor_id, via, bot,
                   browser, language, address_hash, subnet_hash, scanned_at)
SELECT * FROM json_to_recordset(:rows::text::json) AS new (
    chain_id uuid, scan_id uuid, entry text, placement text, unknown_placement text,
    visitor_id uuid, via text, bot text, browser text, language text, address_hash bytea,
    subnet_hash bytea, scanned_at timestamptz);

-- name: write_complaints(rows)!
INSERT INTO complaints (chain_id, complaint_id, scan_id, visitor_id, code_id, store, kind, said_at)
SELECT * FROM json_to_recordset(:rows::text::json) AS new (
    chain_id uuid, complaint_id uuid, scan_id uuid, visitor_id uuid, code_id uuid, store text,
    kind text, said_at timestamptz);

-- name: remember_complaints(rows)!
-- With the visitor, for a day, which codes not to show them again.
UPDATE visitors v
SET reported = CASE WHEN v.reported_at > now() - interval '1 day'
                    THEN array_append(array_remove(v.reported, said.code_id), said.code_id)
                    ELSE ARRAY[said.code_id] END,
    reported_at = now()
FROM json_to_recordset(:rows::text::json) AS said (
    chain_id uuid, visitor_id uuid, entry text, code_id uuid)
WHERE v.chain_id = said.chain_id AND v.visitor_id = said.visitor_id AND v.entry = said.entry;

-- name: write_evidence(rows)!
-- The same evidence twice is kept once.
INSERT INTO evidence (chain_id, evidence_id, scan_id, hold_id, code_id, store, kind, counts,
                      seen_at)
SELECT * FROM json_to_recordset(:rows::text::json) AS new (
    chain_id uuid, evidence_id uuid, scan_id uuid, hold_id uuid, code_id uuid, store text,
    kind text, counts bool, seen_at timestamptz)
WHERE NOT EXISTS (
    SELECT FROM evidence e
    WHERE e.chain_id = new.chain_id AND e.scan_id = new.scan_id AND e.kind = new.kind
      AND e.hold_id IS NOT DISTINCT FROM new.hold_id
);

-- name: write_joined(rows)!
-- Members who were shown the code without a seat, while the database was away.
INSERT INTO holds (chain_id, hold_id, scan_id, visitor_id, entry, code_id, store, held_until,
                   address_hash, subnet_hash, state, held_at, settled_at)
SELECT *, 'joined', now(), now() FROM json_to_recordset(:rows::text::json) AS new (
    chain_id uuid, hold_id uuid, scan_id uuid, visitor_id uuid, entry text, code_id uuid,
    store text, held_until timestamptz, address_hash bytea, subnet_hash bytea);

-- name: write_joins(rows)!
INSERT INTO joins (chain_id, join_id, scan_id, hold_id, visitor_id, entry, placement, channel,
                   code_id, store, province, city, district, source, distance_m, distance_band,
                   evidence, joined_at)
SELECT * FROM json_to_recordset(:rows::text::json) AS new (
    chain_id uuid, join_id uuid, scan_id uuid, hold_id uuid, visitor_id uuid, entry text,
    placement text, channel text, code_id uuid, store text, province text, city text,
    district text, source text, distance_m float8, distance_band text, evidence text,
    joined_at timestamptz);

-- name: strengthen_joins(rows)!
-- pressed < reported < verified: a join keeps the best evidence that it has.
UPDATE joins j SET evidence = new.evidence
FROM json_to_recordset(:rows::text::json) AS new (chain_id uuid, hold_id uuid, evidence text)
WHERE j.chain_id = new.chain_id AND j.hold_id = new.hold_id
  AND array_position(ARRAY['pressed', 'reported', 'verified'], j.evidence)
    < array_position(ARRAY['pressed', 'reported', 'verified'], new.evidence);

-- name: touch_scans(chain_ids, scan_ids)!
-- What became of these scans has changed: the roll-ups follow (rollups.sql).
INSERT INTO touched_scans (chain_id, scan_id)
SELECT * FROM unnest(:chain_ids::uuid[], :scan_ids::uuid[]);
