-- complaints: what visitors said of codes that they could not join by.

-- name: of_codes(chain_id, code_ids, days)
-- By code and kind, what most visitors said first; since somebody last looked after the code.
SELECT c.code_id, c.kind, count(DISTINCT c.visitor_id)::int AS visitors, max(c.said_at) AS last_at
FROM complaints c JOIN codes USING (chain_id, code_id)
WHERE c.chain_id = :chain_id AND c.code_id = ANY(:code_ids) AND c.kind <> 'denied'
  AND c.complaint_id >= uuid7_floor(now() - make_interval(days => :days::int))
  AND c.said_at >= codes.trusted_since
GROUP BY c.code_id, c.kind
ORDER BY c.code_id, visitors DESC, c.kind;
