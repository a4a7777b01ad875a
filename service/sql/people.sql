-- people: who signs in, and the links by which they choose passwords.

-- name: insert_person(chain_id, person_id, name, role, stores, email)$
-- Nothing if somebody has the address.
INSERT INTO people (chain_id, person_id, name, role, stores, email)
VALUES (:chain_id, :person_id, :name, :role, :stores, :email)
ON CONFLICT (email) DO NOTHING
RETURNING person_id;

-- name: get_person(chain_id, person_id)^
SELECT * FROM people WHERE chain_id = :chain_id AND person_id = :person_id;

-- name: lock_person(chain_id, person_id)^
SELECT * FROM people WHERE chain_id = :chain_id AND person_id = :person_id FOR UPDATE;

-- name: find_by_email(email)^
SELECT * FROM people WHERE email = :email AND deactivated_at IS NULL;

-- name: id_of_email(chain_id, email)$
SELECT person_id FROM people WHERE chain_id = :chain_id AND email = :email;

-- name: list_people(chain_id, role, store, active, q, after, most)
SELECT p.chain_id, p.person_id, p.name, p.role, p.stores, p.email, p.created_at, p.deactivated_at,
       p.password_hash IS NOT NULL AS has_password, s.sessions, s.seen_at
FROM people p
LEFT JOIN LATERAL (
    SELECT count(*) FILTER (WHERE ended_at IS NULL AND expires_at > now()) AS sessions,
           max(seen_at) AS seen_at
    FROM sessions WHERE sessions.chain_id = p.chain_id AND sessions.person_id = p.person_id
) s ON true
WHERE p.chain_id = :chain_id
  AND (:role::text IS NULL OR p.role = :role)
  AND (:store::text IS NULL OR :store = ANY(p.stores))
  AND (:active::boolean IS NULL OR (p.deactivated_at IS NULL) = :active)
  AND (:q::text IS NULL OR strpos(lower(concat_ws(' ', p.name, p.email)), lower(:q)) > 0)
  AND (:after::uuid IS NULL OR p.person_id > :after)
ORDER BY p.person_id LIMIT :most;

-- name: update_person(chain_id, person_id, name, email, role, stores, active)!
UPDATE people SET name = :name, email = :email, role = :role, stores = :stores,
    deactivated_at = CASE WHEN :active THEN NULL ELSE coalesce(deactivated_at, now()) END
WHERE chain_id = :chain_id AND person_id = :person_id;

-- name: set_password(chain_id, person_id, password_hash)!
UPDATE people SET password_hash = :password_hash
WHERE chain_id = :chain_id AND person_id = :person_id;

-- name: insert_password_link(chain_id, link_id, person_id, token_hash, lasts)$
INSERT INTO password_links (chain_id, link_id, person_id, token_hash, expires_at)
VALUES (:chain_id, :link_id, :person_id, :token_hash, now() + :lasts::interval)
RETURNING expires_at;

-- name: find_password_link(token_hash)^
SELECT p.* FROM password_links l JOIN people p USING (chain_id, person_id)
WHERE l.token_hash = :token_hash AND l.ended_at IS NULL AND l.expires_at > now()
  AND p.deactivated_at IS NULL;

-- name: use_password_link(token_hash)$
-- Of two that use it at the same time, the second waits for the first, and finds it ended.
UPDATE password_links SET ended_at = now()
WHERE token_hash = :token_hash AND ended_at IS NULL AND expires_at > now()
RETURNING link_id;

-- name: end_password_links(chain_id, person_id)!
UPDATE password_links SET ended_at = now()
WHERE chain_id = :chain_id AND person_id = :person_id AND ended_at IS NULL;

-- name: revoke_invitations_of(chain_id, person_id)!
UPDATE invitations SET revoked_at = now()
WHERE chain_id = :chain_id AND person_id = :person_id AND used_at IS NULL AND revoked_at IS NULL;

-- name: forget_old_links()!
DELETE FROM password_links WHERE expires_at < now() - interval '90 days';
