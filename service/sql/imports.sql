-- imports: imports of codes that go on after they were answered.

-- name: begin(chain_id, import_id, file, dry_run, actor_id)!
INSERT INTO imports (chain_id, import_id, file, dry_run, actor_id)
VALUES (:chain_id, :import_id, :file, :dry_run, :actor_id);

-- name: note(chain_id, import_id, total, done, created, unchanged, rejected)!
UPDATE imports SET total = :total, done = :done, created = :created, unchanged = :unchanged,
    rejected = :rejected, seen_at = now()
WHERE chain_id = :chain_id AND import_id = :import_id AND state = 'running';

-- name: end(chain_id, import_id, state, detail, report)!
UPDATE imports SET state = :state, detail = :detail, report = :report, seen_at = now(),
    ended_at = now()
WHERE chain_id = :chain_id AND import_id = :import_id AND state = 'running';

-- name: get(chain_id, import_id)^
SELECT * FROM imports WHERE chain_id = :chain_id AND import_id = :import_id;

-- name: latest(chain_id, actor_id, after, most)
-- Newest first, without their reports. `actor_id`: of this one alone; null: all.
SELECT chain_id, import_id, file, dry_run, state, detail, total, done, created, unchanged,
       rejected, actor_id, started_at, seen_at, ended_at
FROM imports
WHERE chain_id = :chain_id AND (:actor_id::uuid IS NULL OR actor_id = :actor_id)
  AND (:after::uuid IS NULL OR import_id < :after)
ORDER BY import_id DESC LIMIT :most;

-- name: give_up(seconds, detail)!
-- Imports whose worker has died.
UPDATE imports SET state = 'failed', detail = :detail, ended_at = now()
WHERE state = 'running' AND seen_at < now() - make_interval(secs => :seconds::float8);

-- name: forget(days)!
DELETE FROM imports WHERE ended_at < now() - make_interval(days => :days);
