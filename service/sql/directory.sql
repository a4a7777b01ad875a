-- What a worker keeps in memory, read whole or since a version.

-- name: versions()
-- Every chain with its version: cheap enough to ask twice a second.
SELECT chain_id, chain, name, timezone, version, webhook_events FROM chains;

-- name: stores_since(chain_id, version)
SELECT store, name, brand, address, province, city, district, lon, lat, service_area, status
FROM stores WHERE chain_id = :chain_id AND version > :version;

-- name: codes_since(chain_id, version)
SELECT code_id, store, kind, payload, label, capacity, members, held, counted_by, status,
       expires_at, position, revision, flagged_at
FROM codes WHERE chain_id = :chain_id AND version > :version;

-- name: entries_since(chain_id, version)
SELECT * FROM entries WHERE chain_id = :chain_id AND version > :version;

-- name: placements_since(chain_id, version)
SELECT * FROM placements WHERE chain_id = :chain_id AND version > :version;

-- name: counters()
-- Every code's seats, for what has been missed while nobody told.
SELECT code_id, members, held, revision FROM codes WHERE status <> 'retired';

-- name: bump(chain_id)$
-- The next version of a chain. Its row stays locked until the commit, so versions are seen in order;
-- with the commit every worker is told (service/news.py).
WITH bumped AS (
    UPDATE chains SET version = version + 1 WHERE chain_id = :chain_id
    RETURNING chain_id, version
)
SELECT version, pg_notify('nearcode_catalog', chain_id::text) FROM bumped;
