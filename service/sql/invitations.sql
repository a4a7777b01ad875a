-- invitations: links that make managers.

-- name: stores_of(chain_id, stores)
-- In the order of `stores`.
SELECT store, name FROM stores
WHERE chain_id = :chain_id AND store = ANY(:stores::text[]) AND status <> 'deleted'
ORDER BY array_position(:stores::text[], store);

-- name: insert_invitation(chain_id, invitation_id, token_hash, name, stores, person_id, lasts)$
INSERT INTO invitations (chain_id, invitation_id, token_hash, name, stores, person_id, expires_at)
VALUES (:chain_id, :invitation_id, :token_hash, :name, :stores, :person_id,
        now() + :lasts::interval)
RETURNING expires_at;

-- name: list_invitations(chain_id, state, store, after, most)
SELECT * FROM (
    SELECT *, CASE WHEN used_at IS NOT NULL THEN 'used' WHEN revoked_at IS NOT NULL THEN 'revoked'
                   WHEN expires_at <= now() THEN 'expired' ELSE 'open' END AS state
    FROM invitations
    WHERE chain_id = :chain_id AND (:store::text IS NULL OR :store = ANY(stores))
      AND (:after::uuid IS NULL OR invitation_id < :after)
) AS i
WHERE :state::text IS NULL OR state = :state
ORDER BY invitation_id DESC LIMIT :most;

-- name: find_invitation(token_hash)^
SELECT *, CASE WHEN used_at IS NOT NULL THEN 'used' WHEN revoked_at IS NOT NULL THEN 'revoked'
               WHEN expires_at <= now() THEN 'expired' ELSE 'open' END AS state
FROM invitations WHERE token_hash = :token_hash;

-- name: lock_invitation(chain_id, invitation_id)^
SELECT * FROM invitations
WHERE chain_id = :chain_id AND invitation_id = :invitation_id FOR UPDATE;

-- name: revoke_invitation(chain_id, invitation_id)!
UPDATE invitations SET revoked_at = now()
WHERE chain_id = :chain_id AND invitation_id = :invitation_id;

-- name: use_invitation(token_hash)^
-- Of two that use it at the same time, the second waits for the first, and finds it used.
UPDATE invitations SET used_at = now()
WHERE token_hash = :token_hash AND used_at IS NULL AND revoked_at IS NULL AND expires_at > now()
RETURNING chain_id, invitation_id, name, stores, person_id;

-- name: came_by(chain_id, invitation_id, person_id)!
UPDATE invitations SET person_id = :person_id
WHERE chain_id = :chain_id AND invitation_id = :invitation_id;

-- name: forget_old_invitations()!
DELETE FROM invitations WHERE expires_at < now() - interval '365 days';
