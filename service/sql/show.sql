-- show: decisions, kept with their scan.

-- name: current_routing(chain_id, scan_id, since_id)^
-- The latest. None is older than `since_id` says.
SELECT * FROM routings
WHERE chain_id = :chain_id AND scan_id = :scan_id AND routing_id >= :since_id
ORDER BY routing_id DESC LIMIT 1;
