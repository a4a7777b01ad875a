-- hold: seats, taken and settled. A seat exists in one place only: the counters of its code.

-- name: take_seat(chain_id, code_id)^
-- One seat, if there is one: the row's lock and this condition are what no race gets past.
UPDATE codes SET held = held + 1, revision = revision + 1
WHERE chain_id = :chain_id AND code_id = :code_id
  AND status = 'active' AND (expires_at IS NULL OR expires_at > now())
  AND members + held < capacity
RETURNING code_id, members, held, revision;

-- name: counters(chain_id, code_id)^
SELECT code_id, members, held, revision FROM codes
WHERE chain_id = :chain_id AND code_id = :code_id;

-- name: insert_hold(chain_id, hold_id, scan_id, visitor_id, entry, code_id, store, hold_s)^
INSERT INTO holds (chain_id, hold_id, scan_id, visitor_id, entry, code_id, store, held_at,
                   held_until)
VALUES (:chain_id, :hold_id, :scan_id, :visitor_id, :entry, :code_id, :store, now(),
        now() + make_interval(secs => :hold_s::float8))
RETURNING hold_id, held_at, held_until;

-- name: seat_visitor(chain_id, visitor_id, entry, hold_id, code_id)!
UPDATE visitors SET hold_id = :hold_id, code_id = :code_id, held_at = now()
WHERE chain_id = :chain_id AND visitor_id = :visitor_id AND entry = :entry;

-- name: unseat_visitor(chain_id, visitor_id, entry)!
UPDATE visitors SET hold_id = NULL, code_id = NULL, held_at = NULL
WHERE chain_id = :chain_id AND visitor_id = :visitor_id AND entry = :entry;

-- name: get_hold(chain_id, hold_id)^
SELECT hold_id, scan_id, code_id, store, state, held_at, held_until,
       state = 'held' AND held_until > now() AS live
FROM holds WHERE chain_id = :chain_id AND hold_id = :hold_id;

-- name: release(chain_id, hold_id)^
-- A held seat is free again; the code's counters, or nothing if the seat was not held.
WITH released AS (
    UPDATE holds SET state = 'released', settled_at = now()
    WHERE chain_id = :chain_id AND hold_id = :hold_id AND state = 'held'
    RETURNING code_id
)
UPDATE codes SET held = held - 1, revision = revision + 1
FROM released
WHERE codes.chain_id = :chain_id AND codes.code_id = released.code_id
RETURNING codes.code_id, codes.members, codes.held, codes.revision;

-- name: expire_due(most)
-- Frees up to `most` seats whose time is up, in one go; the counters of their codes. Rows that
-- somebody else is settling are left for the next round; codes are locked in one order.
WITH due AS (
    SELECT chain_id, hold_id, code_id FROM holds
    WHERE state = 'held' AND held_until <= now()
    ORDER BY held_until LIMIT :most
    FOR UPDATE SKIP LOCKED
), expired AS (
    UPDATE holds SET state = 'expired', settled_at = now()
    FROM due
    WHERE holds.chain_id = due.chain_id AND holds.hold_id = due.hold_id
    RETURNING holds.chain_id, holds.code_id
), freed AS (
    SELECT chain_id, code_id, count(*)::int AS seats FROM expired GROUP BY chain_id, code_id
), locked AS (
    SELECT codes.chain_id, codes.code_id, freed.seats
    FROM codes JOIN freed USING (chain_id, code_id)
    ORDER BY codes.chain_id, codes.code_id
    FOR UPDATE OF codes
)
UPDATE codes SET held = codes.held - locked.seats, revision = codes.revision + 1
FROM locked
WHERE codes.chain_id = locked.chain_id AND codes.code_id = locked.code_id
RETURNING codes.code_id, codes.members, codes.held, codes.revision;

-- name: release_newest(chain_id, code_id, seats)!
-- Gives back the youngest held seats of a code that has become too small for them.
WITH newest AS (
    SELECT chain_id, hold_id FROM holds
    WHERE chain_id = :chain_id AND code_id = :code_id AND state = 'held'
    ORDER BY hold_id DESC LIMIT :seats
    FOR UPDATE
)
UPDATE holds SET state = 'released', settled_at = now()
FROM newest WHERE holds.chain_id = newest.chain_id AND holds.hold_id = newest.hold_id;
