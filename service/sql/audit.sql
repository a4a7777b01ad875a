-- audit: who changed what.

-- name: insert_record(chain_id, audit_id, actor_kind, actor_id, actor_name, action, subject, store, before, after)!
INSERT INTO audit (chain_id, audit_id, actor_kind, actor_id, actor_name, action, subject, store,
                   before, after)
VALUES (:chain_id, :audit_id, :actor_kind, :actor_id, :actor_name, :action, :subject, :store,
        :before, :after);

-- name: list_records(chain_id, who, action, subject, since, until, before, most)
-- Newest first. `who`: an id, a kind or part of a name; `action`: whole, or the thing alone.
SELECT * FROM audit
WHERE chain_id = :chain_id
  AND (:who::text IS NULL OR actor_id::text = :who OR actor_kind = :who
       OR strpos(lower(actor_name), lower(:who)) > 0)
  AND (:action::text IS NULL OR action = :action OR split_part(action, '.', 1) = :action)
  AND (:subject::text IS NULL OR subject = :subject OR store = :subject)
  AND (:since::timestamptz IS NULL OR at >= :since)
  AND (:until::timestamptz IS NULL OR at < :until)
  AND (:before::uuid IS NULL OR audit_id < :before)
ORDER BY audit_id DESC LIMIT :most;

-- name: forget(days)!
-- By each chain's key: what stays is not read.
DELETE FROM audit a USING chains c
WHERE a.chain_id = c.chain_id
  AND a.audit_id < uuid7_floor(now() - make_interval(secs => :days::float8 * 86400));
