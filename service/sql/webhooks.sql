-- webhooks: endpoints that are told of what happens, and the deliveries to them.

-- name: insert_webhook(chain_id, webhook_id, url, description, events, enabled, salt)^
INSERT INTO webhooks (chain_id, webhook_id, url, description, events, enabled, salt)
VALUES (:chain_id, :webhook_id, :url, :description, :events, :enabled, :salt)
RETURNING *;

-- name: count_webhooks(chain_id)$
SELECT count(*) FROM webhooks WHERE chain_id = :chain_id;

-- name: list_webhooks(chain_id)
SELECT w.*,
       (SELECT count(*) FROM deliveries d WHERE d.chain_id = w.chain_id
        AND d.webhook_id = w.webhook_id AND d.state = 'pending')::int AS pending
FROM webhooks w WHERE chain_id = :chain_id ORDER BY webhook_id;

-- name: get_webhook(chain_id, webhook_id)^
SELECT w.*,
       (SELECT count(*) FROM deliveries d WHERE d.chain_id = w.chain_id
        AND d.webhook_id = w.webhook_id AND d.state = 'pending')::int AS pending
FROM webhooks w WHERE chain_id = :chain_id AND webhook_id = :webhook_id;

-- name: lock_webhook(chain_id, webhook_id)^
SELECT * FROM webhooks WHERE chain_id = :chain_id AND webhook_id = :webhook_id FOR UPDATE;

-- name: update_webhook(chain_id, webhook_id, url, description, events, enabled, fresh)!
-- `fresh`: what it was disabled for, or asked for, is over.
UPDATE webhooks SET url = :url, description = :description, events = :events, enabled = :enabled,
    disabled_reason = CASE WHEN :fresh THEN NULL ELSE disabled_reason END,
    disabled_at = CASE WHEN :fresh THEN NULL ELSE disabled_at END,
    failing_since = CASE WHEN :fresh THEN NULL ELSE failing_since END,
    not_before = CASE WHEN :fresh THEN NULL ELSE not_before END,
    updated_at = now()
WHERE chain_id = :chain_id AND webhook_id = :webhook_id;

-- name: rotate(chain_id, webhook_id, salt, old_until)!
UPDATE webhooks SET old_salt = salt, salt = :salt, old_until = :old_until, updated_at = now()
WHERE chain_id = :chain_id AND webhook_id = :webhook_id;

-- name: delete_webhook(chain_id, webhook_id)!
WITH gone AS (
    DELETE FROM deliveries WHERE chain_id = :chain_id AND webhook_id = :webhook_id
)
DELETE FROM webhooks WHERE chain_id = :chain_id AND webhook_id = :webhook_id;

-- name: know_events(chain_id)!
-- What some enabled endpoint wants, for all workers to know.
UPDATE chains SET webhook_events = coalesce((
    SELECT array_agg(DISTINCT event ORDER BY event)
    FROM webhooks w, unnest(w.events) AS event
    WHERE w.chain_id = chains.chain_id AND w.enabled), '{}')
WHERE chain_id = :chain_id;

-- Deliveries

-- name: claim(each, busy_webhooks, busy, lease_s)
-- The next deliveries, so many for each endpoint less those that this worker is at: one that is
-- slow or has much to hear holds up no other, and one that fails is tried with one alone. What
-- another worker has taken is let be. Whoever takes one tries it now; if nothing is heard of that,
-- it is due again when the lease is over.
WITH free AS (
    SELECT w.chain_id, w.webhook_id,
           greatest(CASE WHEN w.failing_since IS NULL THEN :each::int ELSE 1 END
                    - coalesce(b.busy, 0), 0) AS room
    FROM webhooks w
    LEFT JOIN unnest(:busy_webhooks::uuid[], :busy::int[]) AS b (webhook_id, busy)
        USING (webhook_id)
    WHERE w.enabled AND (w.not_before IS NULL OR w.not_before <= now())
), due AS (
    SELECT found.* FROM free CROSS JOIN LATERAL (
        SELECT d.chain_id, d.webhook_id, d.event_id FROM deliveries d
        WHERE d.chain_id = free.chain_id AND d.webhook_id = free.webhook_id
          AND d.state = 'pending' AND d.due_at <= now()
        ORDER BY d.due_at, d.event_id LIMIT free.room
        FOR UPDATE SKIP LOCKED
    ) AS found
), taken AS (
    UPDATE deliveries d
    SET attempts = d.attempts + 1, due_at = now() + make_interval(secs => :lease_s::float8)
    FROM due
    WHERE d.chain_id = due.chain_id AND d.webhook_id = due.webhook_id
      AND d.event_id = due.event_id
    RETURNING d.chain_id, d.webhook_id, d.event_id, d.attempts, d.since
)
SELECT t.*, o.event, o.body, w.url, w.salt, w.old_salt, w.old_until
FROM taken t JOIN outbox o USING (chain_id, event_id) JOIN webhooks w USING (chain_id, webhook_id)
ORDER BY t.event_id;

-- name: put_trial(chain_id, webhook_id, event_id, event, body, lease_s)^
-- An event for one endpoint alone, taken at once.
WITH kept AS (
    INSERT INTO outbox (chain_id, event_id, event, body)
    VALUES (:chain_id, :event_id, :event, :body)
), taken AS (
    INSERT INTO deliveries (chain_id, webhook_id, event_id, attempts, due_at)
    VALUES (:chain_id, :webhook_id, :event_id, 1, now() + make_interval(secs => :lease_s::float8))
    RETURNING chain_id, webhook_id, event_id, attempts, since
)
SELECT t.*, :event::text AS event, :body::text AS body, w.url, w.salt, w.old_salt, w.old_until
FROM taken t JOIN webhooks w USING (chain_id, webhook_id);

-- name: settle(chain_id, webhook_id, event_id, attempts, state, pause_s, status, error, duration_ms)$
-- What came of an attempt; `pause_s` until the next one, where there is to be one. If somebody else
-- has taken it meanwhile, it is theirs to say.
UPDATE deliveries
SET state = :state,
    due_at = CASE WHEN :state = 'pending' THEN now() + make_interval(secs => :pause_s::float8) END,
    settled_at = CASE WHEN :state <> 'pending' THEN now() END,
    attempted_at = now(), status = :status, error = :error, duration_ms = :duration_ms
WHERE chain_id = :chain_id AND webhook_id = :webhook_id AND event_id = :event_id
  AND attempts = :attempts AND state = 'pending'
RETURNING state;

-- name: went_well(chain_id, webhook_id)!
UPDATE webhooks SET failing_since = NULL
WHERE chain_id = :chain_id AND webhook_id = :webhook_id AND failing_since IS NOT NULL;

-- name: went_wrong(chain_id, webhook_id, patience_s)$
-- Since when nothing has gone well, in seconds. `patience_s`: it asked to be let alone so long.
UPDATE webhooks
SET failing_since = coalesce(failing_since, now()),
    not_before = CASE WHEN :patience_s::float8 > 0
        THEN greatest(not_before, now() + make_interval(secs => :patience_s::float8))
        ELSE not_before END
WHERE chain_id = :chain_id AND webhook_id = :webhook_id
RETURNING extract(epoch FROM now() - failing_since)::float8;

-- name: disable(chain_id, webhook_id, reason)$
UPDATE webhooks SET enabled = false, disabled_reason = :reason, disabled_at = now()
WHERE chain_id = :chain_id AND webhook_id = :webhook_id AND enabled
RETURNING url;

-- name: list_deliveries(chain_id, webhook_id, state, before, most)
-- Newest first; `state` null: all.
SELECT d.*, o.event, o.body
FROM deliveries d LEFT JOIN outbox o USING (chain_id, event_id)
WHERE d.chain_id = :chain_id AND d.webhook_id = :webhook_id
  AND (:state::text IS NULL OR d.state = :state)
  AND (:before::uuid IS NULL OR d.event_id < :before)
ORDER BY d.event_id DESC LIMIT :most;

-- name: get_delivery(chain_id, webhook_id, event_id)^
SELECT d.*, o.event, o.body
FROM deliveries d LEFT JOIN outbox o USING (chain_id, event_id)
WHERE d.chain_id = :chain_id AND d.webhook_id = :webhook_id AND d.event_id = :event_id;

-- name: retry(chain_id, webhook_id, event_id)$
-- As if it were new; one that is under way is let be.
UPDATE deliveries SET state = 'pending', due_at = now(), since = now(), settled_at = NULL
WHERE chain_id = :chain_id AND webhook_id = :webhook_id AND event_id = :event_id
  AND state <> 'pending'
RETURNING event_id;

-- name: oldest_due_s()$
-- For how long the oldest delivery has waited that could be made; 0: none does.
SELECT coalesce(extract(epoch FROM now() - min(oldest.due_at)), 0)::float8
FROM webhooks w CROSS JOIN LATERAL (
    SELECT d.due_at FROM deliveries d
    WHERE d.chain_id = w.chain_id AND d.webhook_id = w.webhook_id AND d.state = 'pending'
      AND d.due_at <= now()
    ORDER BY d.due_at LIMIT 1
) AS oldest
WHERE w.enabled AND (w.not_before IS NULL OR w.not_before <= now());

-- name: forget_deliveries(days)!
DELETE FROM deliveries d USING chains c
WHERE d.chain_id = c.chain_id
  AND d.event_id < uuid7_floor(now() - make_interval(secs => :days::float8 * 86400));

-- name: forget_events(days)!
DELETE FROM outbox o USING chains c
WHERE o.chain_id = c.chain_id
  AND o.event_id < uuid7_floor(now() - make_interval(secs => :days::float8 * 86400));

-- name: keep_next_url(chain_id, join_id, next_url)!
-- The first answer stands.
UPDATE joins SET next_url = :next_url
WHERE chain_id = :chain_id AND join_id = :join_id AND next_url IS NULL;
