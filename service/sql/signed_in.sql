-- signed_in: the sessions of people, and of keys that somebody has signed in with.

-- name: insert_session(chain_id, session_id, token_hash, person_id, key_id, agent, lasts)!
INSERT INTO sessions (chain_id, session_id, token_hash, person_id, key_id, agent, expires_at)
VALUES (:chain_id, :session_id, :token_hash, :person_id, :key_id, :agent, now() + :lasts::interval);

-- name: find_session(token_hash)^
SELECT s.chain_id, s.session_id, s.key_id, s.person_id, coalesce(p.name, k.name) AS name,
       coalesce(p.role, k.role) AS role, coalesce(p.stores, k.stores) AS stores,
       s.seen_at < now() - interval '1 hour' AS unused
FROM sessions s
LEFT JOIN people p
    ON p.chain_id = s.chain_id AND p.person_id = s.person_id AND p.deactivated_at IS NULL
LEFT JOIN api_keys k
    ON k.chain_id = s.chain_id AND k.key_id = s.key_id AND k.revoked_at IS NULL
WHERE s.token_hash = :token_hash AND s.ended_at IS NULL AND s.expires_at > now()
  AND num_nonnulls(p.person_id, k.key_id) = 1;

-- name: use_session(token_hash, lasts)!
UPDATE sessions SET seen_at = now(), expires_at = now() + :lasts::interval
WHERE token_hash = :token_hash AND ended_at IS NULL AND expires_at > now();

-- name: list_sessions(chain_id, of_person, of_key, after, most)
-- Those that work. Both `of_person` and `of_key` null: everybody's.
SELECT s.session_id, s.person_id, s.key_id, coalesce(p.name, k.name) AS name,
       coalesce(p.role, k.role) AS role, s.agent, s.created_at, s.seen_at, s.expires_at
FROM sessions s
LEFT JOIN people p
    ON p.chain_id = s.chain_id AND p.person_id = s.person_id AND p.deactivated_at IS NULL
LEFT JOIN api_keys k
    ON k.chain_id = s.chain_id AND k.key_id = s.key_id AND k.revoked_at IS NULL
WHERE s.chain_id = :chain_id AND s.ended_at IS NULL AND s.expires_at > now()
  AND num_nonnulls(p.person_id, k.key_id) = 1
  AND (:of_person::uuid IS NULL OR s.person_id = :of_person)
  AND (:of_key::uuid IS NULL OR s.key_id = :of_key)
  AND (:after::uuid IS NULL OR s.session_id > :after)
ORDER BY s.session_id LIMIT :most;

-- name: end_session(chain_id, session_id, of_person, of_key)^
UPDATE sessions s SET ended_at = now()
WHERE chain_id = :chain_id AND session_id = :session_id AND ended_at IS NULL AND expires_at > now()
  AND (:of_person::uuid IS NULL OR person_id = :of_person)
  AND (:of_key::uuid IS NULL OR key_id = :of_key)
RETURNING agent, coalesce(
    (SELECT name FROM people p WHERE p.chain_id = s.chain_id AND p.person_id = s.person_id),
    (SELECT name FROM api_keys k WHERE k.chain_id = s.chain_id AND k.key_id = s.key_id)) AS name;

-- name: end_by_token(token_hash)!
UPDATE sessions SET ended_at = now() WHERE token_hash = :token_hash AND ended_at IS NULL;

-- name: end_sessions_of(chain_id, person_id, but)$
WITH ended AS (
    UPDATE sessions SET ended_at = now()
    WHERE chain_id = :chain_id AND person_id = :person_id AND ended_at IS NULL
      AND expires_at > now() AND (:but::uuid IS NULL OR session_id <> :but)
    RETURNING 1
)
SELECT count(*)::int FROM ended;

-- name: forget_old_sessions()!
DELETE FROM sessions
WHERE coalesce(ended_at, expires_at) < now() - interval '90 days'
   OR expires_at < now() - interval '90 days';
