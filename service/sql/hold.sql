-- hold: seats that run out or are given back. A seat exists in one place only: the counters of its
-- code. Locks are taken in the journal's order (journal.sql): codes by key, then holds.

-- name: hold_state(chain_id, hold_id)$
SELECT state FROM holds WHERE chain_id = :chain_id AND hold_id = :hold_id;

-- name: plan_anew()!
-- For the rest of the transaction: a plan made while there were no seats compares every due seat
-- with every held one, for ever.
SET LOCAL plan_cache_mode = force_custom_plan;

-- name: expire_due(most)
-- Frees up to `most` seats whose time is up, in one go; the counters of their codes. What somebody
-- else has settled while this waited for the code is let be.
WITH due AS MATERIALIZED (
    SELECT chain_id, hold_id, code_id FROM holds
    WHERE state = 'held' AND held_until <= now()
    ORDER BY held_until LIMIT :most
), locked AS MATERIALIZED (
    SELECT chain_id, code_id, held, revision FROM codes
    WHERE (chain_id, code_id) IN (SELECT chain_id, code_id FROM due)
    ORDER BY chain_id, code_id
    FOR UPDATE
), expired AS (
    UPDATE holds SET state = 'expired', settled_at = now()
    FROM due JOIN locked USING (chain_id, code_id)
    WHERE holds.chain_id = due.chain_id AND holds.hold_id = due.hold_id AND holds.state = 'held'
    RETURNING holds.chain_id, holds.code_id
), freed AS (
    SELECT chain_id, code_id, count(*)::int AS seats FROM expired GROUP BY chain_id, code_id
)
UPDATE codes SET held = locked.held - freed.seats, revision = locked.revision + 1
FROM freed JOIN locked USING (chain_id, code_id)
WHERE codes.chain_id = locked.chain_id AND codes.code_id = locked.code_id
RETURNING codes.code_id, codes.members, codes.held, codes.revision, freed.seats;

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
