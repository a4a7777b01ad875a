-- join: holds that became membership.

-- name: list_joins(chain_id, after, since, stores, most)
-- Oldest first. `stores`: null for all.
SELECT * FROM joins
WHERE chain_id = :chain_id
  AND (:after::uuid IS NULL OR join_id > :after)
  AND (:since::timestamptz IS NULL OR join_id >= uuid7_floor(:since))
  AND (:stores::text[] IS NULL OR store = ANY(:stores))
ORDER BY join_id LIMIT :most;

-- name: get_join(chain_id, join_id)^
SELECT * FROM joins WHERE chain_id = :chain_id AND join_id = :join_id;

-- name: next_url(chain_id, scan_id, hold_id)$
-- A visitor who comes back has the seat of an earlier scan.
SELECT next_url FROM joins
WHERE chain_id = :chain_id AND next_url IS NOT NULL
  AND (scan_id = :scan_id OR hold_id = :hold_id)
ORDER BY join_id DESC LIMIT 1;

-- name: leave(chain_id, join_id)^
-- A member has left: their place is free again. The code's counters, or nothing if they had left
-- before. The code is locked.
WITH gone AS (
    UPDATE joins SET left_at = now()
    WHERE chain_id = :chain_id AND join_id = :join_id AND left_at IS NULL
    RETURNING scan_id, hold_id
), touched AS (
    INSERT INTO touched_scans (chain_id, scan_id) SELECT :chain_id, scan_id FROM gone
), freed AS (
    UPDATE holds SET state = 'released', settled_at = now()
    FROM gone
    WHERE holds.chain_id = :chain_id AND holds.hold_id = gone.hold_id AND holds.state = 'joined'
    RETURNING holds.code_id
)
UPDATE codes SET members = greatest(codes.members - 1, 0), revision = codes.revision + 1
FROM freed
WHERE codes.chain_id = :chain_id AND codes.code_id = freed.code_id
RETURNING codes.code_id, codes.members, codes.held, codes.revision;
