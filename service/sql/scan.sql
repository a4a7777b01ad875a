-- scan: what is remembered of visitors.

-- name: get_visitor(chain_id, visitor_id, entry)^
SELECT * FROM visitors
WHERE chain_id = :chain_id AND visitor_id = :visitor_id AND entry = :entry;

-- name: forget_positions(minutes)!
UPDATE visitors
SET lon = NULL, lat = NULL, accuracy_m = NULL, source = NULL, located_at = NULL
WHERE located_at < now() - make_interval(secs => :minutes::float8 * 60);
