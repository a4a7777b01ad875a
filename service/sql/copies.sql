-- copies: the small copies that are kept of pictures, and pictures that wait for a yes.

-- name: keep(chain_id, code_ids, pictures, media_type, widths, heights)!
-- Arrays of equal length; a code's former picture goes.
INSERT INTO code_pictures (chain_id, code_id, picture, media_type, width, height)
SELECT :chain_id, code_id, picture, :media_type, width, height
FROM unnest(:code_ids::uuid[], :pictures::bytea[], :widths::int[], :heights::int[])
  AS t (code_id, picture, width, height)
ON CONFLICT (chain_id, code_id) DO UPDATE SET
    picture = excluded.picture, media_type = excluded.media_type, width = excluded.width,
    height = excluded.height, stored_at = now();

-- name: drop(chain_id, code_ids)!
DELETE FROM code_pictures WHERE chain_id = :chain_id AND code_id = ANY(:code_ids);

-- name: picture_of(chain_id, code_id)^
SELECT * FROM code_pictures WHERE chain_id = :chain_id AND code_id = :code_id;

-- name: put_aside(chain_id, pending_id, store, payload, picture, width, height)!
INSERT INTO pending_codes (chain_id, pending_id, store, payload, picture, width, height)
VALUES (:chain_id, :pending_id, :store, :payload, :picture, :width, :height);

-- name: pending(chain_id, pending_id, store, minutes)^
SELECT * FROM pending_codes
WHERE chain_id = :chain_id AND pending_id = :pending_id AND store = :store
  AND read_at > now() - make_interval(secs => :minutes::float8 * 60);

-- name: settle(chain_id, pending_id)!
DELETE FROM pending_codes WHERE chain_id = :chain_id AND pending_id = :pending_id;

-- name: sweep(minutes)$
-- How many had waited too long.
WITH gone AS (
    DELETE FROM pending_codes
    WHERE read_at <= now() - make_interval(secs => :minutes::float8 * 60) RETURNING 1
)
SELECT count(*) FROM gone;
