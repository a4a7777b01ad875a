-- join: holds that became membership.

-- name: list_joins(chain_id, after, since, stores, most)
-- Oldest first. `stores`: null for all.
SELECT * FROM joins
WHERE chain_id = :chain_id
  AND (:after::uuid IS NULL OR join_id > :after)
  AND (:since::timestamptz IS NULL OR join_id >= uuid7_floor(:since))
  AND (:stores::text[] IS NULL OR store = ANY(:stores))
ORDER BY join_id LIMIT :most;
