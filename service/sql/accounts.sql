-- accounts: chains, keys, and what this installation signs with.

-- name: insert_chain(chain_id, chain, name, timezone)$
-- Nothing if there is one.
INSERT INTO chains (chain_id, chain, name, timezone)
VALUES (:chain_id, :chain, :name, :timezone)
ON CONFLICT (chain) DO NOTHING
RETURNING chain_id;

-- name: get_chain(chain)^
SELECT chain_id, chain, name, timezone FROM chains WHERE chain = :chain;

-- name: list_chains()
SELECT chain_id, chain, name, timezone, currency FROM chains ORDER BY chain;

-- name: insert_key(chain_id, key_id, name, role, stores, key_hash)!
INSERT INTO api_keys (chain_id, key_id, name, role, stores, key_hash)
VALUES (:chain_id, :key_id, :name, :role, :stores, :key_hash);

-- name: find_key(key_hash)^
SELECT chain_id, key_id, name, role, stores FROM api_keys
WHERE key_hash = :key_hash AND revoked_at IS NULL;

-- name: list_keys(chain_id)
SELECT key_id, name, role, stores, created_at, revoked_at FROM api_keys
WHERE chain_id = :chain_id ORDER BY created_at, key_id;

-- name: lock_key(chain_id, key_id)^
SELECT name, role, stores, revoked_at FROM api_keys
WHERE chain_id = :chain_id AND key_id = :key_id FOR UPDATE;

-- name: revoke_key(chain_id, key_id)!
UPDATE api_keys SET revoked_at = now() WHERE chain_id = :chain_id AND key_id = :key_id;

-- name: unknown_stores(chain_id, stores)
SELECT wanted AS store FROM unnest(:stores::text[]) AS wanted
WHERE NOT EXISTS (SELECT FROM stores WHERE chain_id = :chain_id AND store = wanted
                  AND status <> 'deleted');

-- name: keep_secret(secret)$
-- The installation's secret: the first one that any worker made.
INSERT INTO installation (secret) VALUES (:secret)
ON CONFLICT (one) DO UPDATE SET secret = installation.secret
RETURNING secret;
