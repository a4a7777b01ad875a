-- report: what a chain's reports need beside the columns of its scans.

-- name: get_timezone(chain_id)$
SELECT timezone FROM chains WHERE chain_id = :chain_id;
