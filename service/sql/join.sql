-- join: evidence, and the holds that it turns into membership.

-- name: insert_evidence(chain_id, evidence_id, scan_id, hold_id, code_id, store, kind, counts, seen_at)!
INSERT INTO evidence (chain_id, evidence_id, scan_id, hold_id, code_id, store, kind, counts,
                      seen_at)
VALUES (:chain_id, :evidence_id, :scan_id, :hold_id, :code_id, :store, :kind, :counts, :seen_at);

-- name: has_evidence(chain_id, scan_id, hold_id, kind)$
SELECT EXISTS (
    SELECT FROM evidence
    WHERE chain_id = :chain_id AND scan_id = :scan_id AND kind = :kind
      AND hold_id IS NOT DISTINCT FROM :hold_id
);

-- name: join_held(chain_id, hold_id)^
-- A held seat becomes a member's; the code's counters, or nothing if the seat was not held.
WITH joined AS (
    UPDATE holds SET state = 'joined', settled_at = now()
    WHERE chain_id = :chain_id AND hold_id = :hold_id AND state = 'held'
    RETURNING code_id
)
UPDATE codes SET held = held - 1, members = members + 1, revision = revision + 1
FROM joined
WHERE codes.chain_id = :chain_id AND codes.code_id = joined.code_id
RETURNING codes.code_id, codes.members, codes.held, codes.revision;

-- name: join_late(chain_id, hold_id, code_id)^
-- The same for a seat that was given up meanwhile, if the code still has room.
WITH seat AS (
    UPDATE codes SET members = members + 1, revision = revision + 1
    WHERE chain_id = :chain_id AND code_id = :code_id AND members + held < capacity
      AND EXISTS (SELECT FROM holds WHERE chain_id = :chain_id AND hold_id = :hold_id
                  AND state IN ('expired', 'released'))
    RETURNING code_id, members, held, revision
), joined AS (
    UPDATE holds SET state = 'joined', settled_at = now()
    FROM seat
    WHERE chain_id = :chain_id AND hold_id = :hold_id
)
SELECT * FROM seat;

-- name: insert_join(chain_id, join_id, scan_id, hold_id, visitor_id, entry, placement, channel, code_id, store, province, city, district, source, distance_m, distance_band, evidence, joined_at)!
INSERT INTO joins (chain_id, join_id, scan_id, hold_id, visitor_id, entry, placement, channel,
                   code_id, store, province, city, district, source, distance_m, distance_band,
                   evidence, joined_at)
VALUES (:chain_id, :join_id, :scan_id, :hold_id, :visitor_id, :entry, :placement, :channel,
        :code_id, :store, :province, :city, :district, :source, :distance_m, :distance_band,
        :evidence, :joined_at);

-- name: strengthen_join(chain_id, hold_id, evidence)!
-- pressed < reported < verified: a join keeps the best evidence that it has.
UPDATE joins SET evidence = :evidence
WHERE chain_id = :chain_id AND hold_id = :hold_id
  AND array_position(ARRAY['pressed', 'reported', 'verified'], evidence)
    < array_position(ARRAY['pressed', 'reported', 'verified'], :evidence);

-- name: list_joins(chain_id, after, since, stores, most)
-- Oldest first. `stores`: null for all.
SELECT * FROM joins
WHERE chain_id = :chain_id
  AND (:after::uuid IS NULL OR join_id > :after)
  AND (:since::timestamptz IS NULL OR join_id >= uuid7_floor(:since))
  AND (:stores::text[] IS NULL OR store = ANY(:stores))
ORDER BY join_id LIMIT :most;
