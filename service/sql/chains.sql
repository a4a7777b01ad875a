-- chains: what a chain is called, and in what its days and amounts are.

-- name: get_chain(chain_id)^
SELECT chain, name, timezone, currency FROM chains WHERE chain_id = :chain_id;

-- name: lock_chain(chain_id)^
SELECT name, timezone, currency FROM chains WHERE chain_id = :chain_id FOR UPDATE;

-- name: update_chain(chain_id, name, timezone, currency)!
UPDATE chains SET name = :name, timezone = :timezone, currency = :currency
WHERE chain_id = :chain_id;

-- name: touch_bought(chain_id)!
-- Roll-ups count what scans brought in the chain's currency.
INSERT INTO touched_scans (chain_id, scan_id)
SELECT DISTINCT chain_id, scan_id FROM scan_orders WHERE chain_id = :chain_id;
