-- What a worker keeps in memory, read whole or since a version.

-- name: versions()
-- Every chain with its version: cheap enough to ask twice a second.
SELECT chain_id, chain, name, timezone, version FROM chains;

-- name: stores_since(chain_id, version)
SELECT * FROM stores WHERE chain_id = :chain_id AND version > :version;

-- name: codes_since(chain_id, version)
SELECT * FROM codes WHERE chain_id = :chain_id AND version > :version;

-- name: entries_since(chain_id, version)
SELECT * FROM entries WHERE chain_id = :chain_id AND version > :version;

-- name: placements_since(chain_id, version)
SELECT * FROM placements WHERE chain_id = :chain_id AND version > :version;

-- name: bump(chain_id)$
-- The next version of a chain. Its row stays locked until the commit, so versions are seen in order.
UPDATE chains SET version = version + 1 WHERE chain_id = :chain_id RETURNING version;
