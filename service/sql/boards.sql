-- boards: what stores, managers and placements are, beside what became of their scans.

-- name: read_estate(chain_id, scope)
-- Every store that is not deleted, with its codes' seats as far as they are not retired. `scope`:
-- the stores that may be seen, null for all.
SELECT s.store, s.name, s.brand, s.province, s.city, s.district, s.lon, s.lat, s.status,
    coalesce(sum(c.members), 0)::int AS members, coalesce(sum(c.held), 0)::int AS held,
    coalesce(sum(c.capacity), 0)::int AS capacity
FROM stores s
LEFT JOIN codes c ON c.chain_id = s.chain_id AND c.store = s.store AND c.status <> 'retired'
WHERE s.chain_id = :chain_id AND s.status <> 'deleted'
  AND (:scope::text[] IS NULL OR s.store = ANY(:scope))
GROUP BY s.chain_id, s.store
ORDER BY s.store;

-- name: read_managers(chain_id, scope)
-- Of those who may be seen: all of whose stores are.
SELECT person_id, name, stores FROM people
WHERE chain_id = :chain_id AND role = 'manager' AND deactivated_at IS NULL
  AND (:scope::text[] IS NULL OR stores <@ :scope)
ORDER BY name, person_id;

-- name: read_printed(chain_id)
SELECT entry, placement, name, channel, store, variant, printed, cost FROM placements
WHERE chain_id = :chain_id ORDER BY entry, placement;
