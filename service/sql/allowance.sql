-- allowance: how many seats an address or a network holds.

-- name: lock_subnets(locks)
-- Until the commit, in one order: who counts also grants before another counts.
SELECT pg_advisory_xact_lock(lock) FROM unnest(:locks::bigint[]) AS lock;

-- name: count_held(subnets)
SELECT subnet_hash, address_hash, count(*)::int AS seats FROM holds
WHERE subnet_hash = ANY(:subnets::bytea[]) AND state = 'held'
GROUP BY subnet_hash, address_hash;
