-- show: decisions, kept with their scan.

-- name: insert_routing(chain_id, routing_id, scan_id, outcome, reason, source, accuracy_m, province, city, district, store, distance_m, code_id, hold_id, held_until, hops, choices, routed_at)!
INSERT INTO routings (chain_id, routing_id, scan_id, outcome, reason, source, accuracy_m, province,
                      city, district, store, distance_m, code_id, hold_id, held_until, hops,
                      choices, routed_at)
VALUES (:chain_id, :routing_id, :scan_id, :outcome, :reason, :source, :accuracy_m, :province,
        :city, :district, :store, :distance_m, :code_id, :hold_id, :held_until, :hops,
        :choices, :routed_at);

-- name: current_routing(chain_id, scan_id, code_id)^
-- The latest; with `code_id` the latest that showed this code.
SELECT * FROM routings
WHERE chain_id = :chain_id AND scan_id = :scan_id
  AND (:code_id::uuid IS NULL OR code_id = :code_id)
ORDER BY routing_id DESC LIMIT 1;
