-- throttle: how often somebody has tried to sign in of late.

-- name: count_attempt(subject, seconds)^
INSERT INTO sign_in_attempts AS known (subject, attempts, since) VALUES (:subject, 1, now())
ON CONFLICT (subject) DO UPDATE SET
    attempts = CASE WHEN known.since + make_interval(secs => :seconds) <= now() THEN 1
                    ELSE known.attempts + 1 END,
    since = CASE WHEN known.since + make_interval(secs => :seconds) <= now() THEN now()
                 ELSE known.since END
RETURNING attempts,
          extract(epoch FROM since + make_interval(secs => :seconds) - now())::float8 AS wait_s;

-- name: forget_attempts(subject)!
DELETE FROM sign_in_attempts WHERE subject = :subject;

-- name: take_back_attempt(subject)!
UPDATE sign_in_attempts SET attempts = greatest(0, attempts - 1) WHERE subject = :subject;

-- name: forget_old_attempts(seconds)!
DELETE FROM sign_in_attempts WHERE since + make_interval(secs => :seconds) <= now();
