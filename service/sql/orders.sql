-- orders: what members buy, matched to joins. Everything that changes is changed under the lock of
-- the chain's ledger, so that no two transactions of one chain are at it at once.

-- name: by_key()!
-- Until the transaction ends, everything is looked up by key: plans do not wait for statistics.
-- Of a table that was never analyzed they think that a chain has a two-hundredth of its rows, and
-- that reading all of those is as good as anything. Therefore
-- 1. what is asked for goes through LATERAL with OFFSET 0, key by key, and never as an array or as
--    a table to be joined;
-- 2. what was found so is changed where it was found (ctid): nobody else changes it meanwhile;
-- 3. what has grown fourfold is analyzed on the way (`orders._look_at`), which also does away with
--    plans that were made when it was small;
-- 4. the least id of a scan's events is reckoned once a scan, and not once a month and index.
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
       set_config('enable_mergejoin', 'off', true), set_config('enable_material', 'off', true),
       set_config('enable_bitmapscan', 'off', true), set_config('jit', 'off', true),
       set_config('max_parallel_workers_per_gather', '0', true);

-- name: lock_ledger(chain_id)$
-- Until the commit. A new one begins with what may be under way now.
INSERT INTO order_ledgers (chain_id, seen_evidence)
VALUES (:chain_id, uuid7_floor(now() - interval '2 minutes'))
ON CONFLICT (chain_id) DO UPDATE SET chain_id = excluded.chain_id
RETURNING seen_evidence;

-- name: ledgers()
SELECT chain_id FROM order_ledgers ORDER BY chain_id;

-- name: chain_of_orders(chain_id)^
SELECT timezone, currency FROM chains WHERE chain_id = :chain_id;

-- name: known_stores(chain_id, stores)
-- Those that are gone, too: orders of the past are theirs.
SELECT store FROM stores WHERE chain_id = :chain_id AND store = ANY(:stores::text[]);

-- name: orders_by_number(chain_id, orders)
SELECT o.* FROM unnest(:orders::text[]) AS asked (order_no)
CROSS JOIN LATERAL (
    SELECT * FROM orders WHERE chain_id = :chain_id AND order_no = asked.order_no OFFSET 0
) o;

-- name: upsert_orders(chain_id, orders, kinds, ats, amounts, currencies, stores, members, member_kinds, member_hashes, scan_ids, refunds)!
-- What they are matched to is left as it was: it is looked for next.
INSERT INTO orders (chain_id, order_no, kind, at, amount, currency, store, member, member_kind,
                    member_hash, scan_id, refunds)
SELECT :chain_id::uuid, new.*
FROM unnest(:orders::text[], :kinds::text[], :ats::timestamptz[], :amounts::numeric[],
            :currencies::text[], :stores::text[], :members::text[], :member_kinds::text[],
            :member_hashes::bytea[], :scan_ids::uuid[], :refunds::text[]) AS new
ON CONFLICT (chain_id, order_no) DO UPDATE
SET kind = excluded.kind, at = excluded.at, amount = excluded.amount,
    currency = excluded.currency, store = excluded.store, member = excluded.member,
    member_kind = excluded.member_kind, member_hash = excluded.member_hash,
    scan_id = excluded.scan_id, refunds = excluded.refunds, updated_at = now();

-- name: orders_known_by(chain_id, hashes, scan_ids)
-- The orders and refunds that name one of these members or scans.
SELECT o.order_no FROM unnest(:hashes::bytea[]) AS asked (member_hash)
CROSS JOIN LATERAL (
    SELECT order_no FROM orders
    WHERE chain_id = :chain_id AND member_hash = asked.member_hash OFFSET 0
) o
UNION
SELECT o.order_no FROM unnest(:scan_ids::uuid[]) AS asked (scan_id)
CROSS JOIN LATERAL (
    SELECT order_no FROM orders WHERE chain_id = :chain_id AND scan_id = asked.scan_id OFFSET 0
) o;

-- name: refunds_that_follow(chain_id, orders, hashes, scan_ids)
-- The refunds whose order may be among these, or be another one because of them.
SELECT o.order_no FROM unnest(:orders::text[]) AS asked (order_no)
CROSS JOIN LATERAL (
    SELECT order_no FROM orders WHERE chain_id = :chain_id AND refunds = asked.order_no OFFSET 0
) o
UNION
SELECT o.order_no FROM unnest(:hashes::bytea[]) AS asked (member_hash)
CROSS JOIN LATERAL (
    SELECT order_no FROM orders
    WHERE chain_id = :chain_id AND member_hash = asked.member_hash
      AND kind = 'refund' AND refunds IS NULL OFFSET 0
) o
UNION
SELECT o.order_no FROM unnest(:scan_ids::uuid[]) AS asked (scan_id)
CROSS JOIN LATERAL (
    SELECT order_no FROM orders
    WHERE chain_id = :chain_id AND scan_id = asked.scan_id
      AND kind = 'refund' AND refunds IS NULL OFFSET 0
) o;

-- name: match_orders(chain_id, orders, kinds, confidences, window_s)!
-- An order that names a scan belongs to that scan's join: the last before the order, or else the
-- first after it. Failing that, to the last join before the order, and not longer before it than
-- the window, that is known to have become the member whom the order names; kind after kind, if it
-- does not say which. Of joins at the same instant: the one in the order's store, then the one with
-- the highest id. `window_s` 0: no window.
WITH found AS MATERIALIZED (
    SELECT o.ctid AS place,
        coalesce(s.join_id, k.join_id) AS join_id,
        CASE WHEN s.join_id IS NOT NULL THEN s.scan_id ELSE k.scan_id END AS scan_id,
        CASE WHEN s.join_id IS NOT NULL THEN s.store ELSE k.store END AS store,
        CASE WHEN s.join_id IS NOT NULL THEN 'scan_id' ELSE k.kind END AS rule,
        CASE WHEN s.join_id IS NOT NULL THEN 1
             ELSE (:confidences::float8[])[array_position(:kinds::text[], k.kind)]
        END AS confidence
    FROM unnest(:orders::text[]) AS asked (order_no)
    CROSS JOIN LATERAL (
        SELECT o.ctid, o.*, uuid7_hour_before(o.scan_id) AS since FROM orders o
        WHERE o.chain_id = :chain_id AND o.order_no = asked.order_no AND o.kind = 'order' OFFSET 0
    ) o
    LEFT JOIN LATERAL (
        SELECT j.join_id, j.scan_id, j.store FROM joins j
        WHERE j.chain_id = :chain_id AND j.scan_id = o.scan_id
          AND j.join_id >= o.since
        ORDER BY j.joined_at > o.at, abs(extract(epoch FROM o.at - j.joined_at)),
                 (j.store IS NOT DISTINCT FROM o.store) DESC, j.join_id DESC
        LIMIT 1
    ) s ON true
    LEFT JOIN LATERAL (
        SELECT k.join_id, k.scan_id, k.store, k.kind FROM member_keys k
        WHERE s.join_id IS NULL
          AND k.chain_id = :chain_id AND k.key_hash = o.member_hash
          AND (o.member_kind IS NULL OR k.kind = o.member_kind)
          AND k.joined_at <= o.at
          AND (:window_s::float8 = 0 OR k.joined_at >= o.at - make_interval(secs => :window_s))
        ORDER BY array_position(:kinds::text[], k.kind), k.joined_at DESC,
                 (k.store IS NOT DISTINCT FROM o.store) DESC, k.join_id DESC
        LIMIT 1
    ) k ON true
)
UPDATE orders o
SET join_id = f.join_id, joined_scan_id = f.scan_id, join_store = f.store, rule = f.rule,
    confidence = f.confidence,
    matched_at = CASE WHEN f.join_id IS NULL THEN NULL
                      WHEN o.join_id IS DISTINCT FROM f.join_id THEN now()
                      ELSE o.matched_at END
FROM found f
WHERE o.ctid = f.place
  AND (o.join_id IS DISTINCT FROM f.join_id OR o.rule IS DISTINCT FROM f.rule
       OR o.confidence IS DISTINCT FROM f.confidence);

-- name: match_refunds(chain_id, orders)!
-- A refund belongs where its order does: the one that it names, or else the last matched one before
-- it of the same scan, or of the same member. In the same currency: what was paid is paid back.
WITH found AS MATERIALIZED (
    SELECT r.ctid AS place, p.join_id, p.joined_scan_id, p.join_store, p.confidence,
        CASE WHEN p.join_id IS NULL THEN NULL
             WHEN r.refunds IS NOT NULL THEN 'refunds' ELSE 'last_order' END AS rule
    FROM unnest(:orders::text[]) AS asked (order_no)
    CROSS JOIN LATERAL (
        SELECT r.ctid, r.* FROM orders r
        WHERE r.chain_id = :chain_id AND r.order_no = asked.order_no AND r.kind = 'refund' OFFSET 0
    ) r
    LEFT JOIN LATERAL (
        SELECT candidate.* FROM (
            SELECT 1 AS turn, o.* FROM orders o
            WHERE o.chain_id = :chain_id AND o.order_no = r.refunds
            UNION ALL
            SELECT 2, o.* FROM orders o
            WHERE o.chain_id = :chain_id AND o.scan_id = r.scan_id
              AND r.refunds IS NULL AND o.at <= r.at
            UNION ALL
            SELECT 3, o.* FROM orders o
            WHERE o.chain_id = :chain_id AND o.member_hash = r.member_hash
              AND r.refunds IS NULL AND o.at <= r.at
        ) AS candidate
        WHERE candidate.kind = 'order' AND candidate.join_id IS NOT NULL
          AND candidate.currency = r.currency
        ORDER BY candidate.turn, candidate.at DESC, candidate.order_no COLLATE "C" DESC
        LIMIT 1
    ) p ON true
)
UPDATE orders r
SET join_id = f.join_id, joined_scan_id = f.joined_scan_id, join_store = f.join_store,
    rule = f.rule, confidence = f.confidence,
    matched_at = CASE WHEN f.join_id IS NULL THEN NULL
                      WHEN r.join_id IS DISTINCT FROM f.join_id THEN now()
                      ELSE r.matched_at END
FROM found f
WHERE r.ctid = f.place
  AND (r.join_id IS DISTINCT FROM f.join_id OR r.rule IS DISTINCT FROM f.rule
       OR r.confidence IS DISTINCT FROM f.confidence);

-- ---------------------------------------------------------------- sums

-- name: count_order_days(chain_id, orders, sign)!
-- These orders, as they are now, into the sums (`sign` 1) or out of them (-1).
INSERT INTO order_days AS d
    (chain_id, day, currency, store, matched, orders, refunds, sales, refunded)
SELECT o.chain_id, (o.at AT TIME ZONE c.timezone)::date, o.currency,
    coalesce(o.store, o.join_store, ''), o.join_id IS NOT NULL,
    :sign::int * count(*) FILTER (WHERE o.kind = 'order'),
    :sign::int * count(*) FILTER (WHERE o.kind = 'refund'),
    :sign::int * coalesce(sum(o.amount) FILTER (WHERE o.kind = 'order'), 0),
    :sign::int * coalesce(sum(o.amount) FILTER (WHERE o.kind = 'refund'), 0)
FROM unnest(:orders::text[]) AS asked (order_no)
CROSS JOIN LATERAL (
    SELECT * FROM orders WHERE chain_id = :chain_id AND order_no = asked.order_no OFFSET 0
) o
JOIN chains c ON c.chain_id = o.chain_id
GROUP BY 1, 2, 3, 4, 5
ON CONFLICT (chain_id, day, currency, store, matched) DO UPDATE
SET orders = d.orders + excluded.orders, refunds = d.refunds + excluded.refunds,
    sales = d.sales + excluded.sales, refunded = d.refunded + excluded.refunded;

-- name: count_revenue(chain_id, scan_ids, sign)!
-- What is kept of these scans into the sums (`sign` 1) or out of them (-1).
INSERT INTO revenue_sums AS d
    (chain_id, step, day, currency, entry, placement, store, city, buyers, orders, refunds, sales,
     refunded, first_revenue)
SELECT s.chain_id, sums.*, :sign::int * count(*), :sign::int * sum(s.orders),
    :sign::int * sum(s.refunds), :sign::int * sum(s.sales), :sign::int * sum(s.refunded),
    :sign::int * sum(s.first_revenue)
FROM unnest(:scan_ids::uuid[]) AS asked (scan_id)
CROSS JOIN LATERAL (
    SELECT * FROM scan_orders WHERE chain_id = :chain_id AND scan_id = asked.scan_id OFFSET 0
) s
CROSS JOIN LATERAL (
    VALUES ('day', s.day, s.currency, s.entry, s.placement, s.store, s.city),
        ('month', date_trunc('month', s.day::timestamp)::date, s.currency, s.entry, s.placement,
         s.store, s.city),
        ('total', s.day, s.currency, '', '', '', '')
) AS sums (step, day, currency, entry, placement, store, city)
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
ON CONFLICT (chain_id, step, currency, day, entry, placement, store, city) DO UPDATE
SET buyers = d.buyers + excluded.buyers, orders = d.orders + excluded.orders,
    refunds = d.refunds + excluded.refunds, sales = d.sales + excluded.sales,
    refunded = d.refunded + excluded.refunded,
    first_revenue = d.first_revenue + excluded.first_revenue;

-- name: recount_scans(chain_id, scan_ids)!
-- What came of each of these scans, counted anew from its orders. Its keys are the funnel's
-- (sql/report.sql): the store that it joined, or else was shown last. A scan that retention has
-- dropped keeps the keys that it had.
WITH told AS MATERIALIZED (
    SELECT o.joined_scan_id AS scan_id, o.currency,
        uuid7_hour_before(o.joined_scan_id) AS since,
        count(*) FILTER (WHERE o.kind = 'order') AS orders,
        count(*) FILTER (WHERE o.kind = 'refund') AS refunds,
        coalesce(sum(o.amount) FILTER (WHERE o.kind = 'order'), 0) AS sales,
        coalesce(sum(o.amount) FILTER (WHERE o.kind = 'refund'), 0) AS refunded,
        (array_agg(o.order_no ORDER BY o.at, o.order_no COLLATE "C")
            FILTER (WHERE o.kind = 'order'))[1] AS first_order
    FROM unnest(:scan_ids::uuid[]) AS asked (scan_id)
    CROSS JOIN LATERAL (
        SELECT * FROM orders
        WHERE chain_id = :chain_id AND joined_scan_id = asked.scan_id OFFSET 0
    ) o
    GROUP BY o.joined_scan_id, o.currency
)
INSERT INTO scan_orders AS kept (chain_id, scan_id, currency, scanned_at, day, entry, placement,
                                 store, city, orders, refunds, sales, refunded, revenue,
                                 first_revenue)
SELECT :chain_id::uuid, t.scan_id, t.currency,
    coalesce(s.scanned_at, old.scanned_at),
    coalesce((s.scanned_at AT TIME ZONE c.timezone)::date, old.day),
    coalesce(s.entry, old.entry),
    coalesce(s.placement, old.placement, ''),
    coalesce(w.store, r.store, old.store, ''),
    coalesce(r.city, old.city, ''),
    t.orders, t.refunds, t.sales, t.refunded, t.sales - t.refunded,
    coalesce(first.amount, 0) - coalesce(back.amount, 0)
FROM told t
JOIN chains c ON c.chain_id = :chain_id
LEFT JOIN LATERAL (
    SELECT * FROM scans s
    WHERE s.chain_id = :chain_id AND s.scan_id = t.scan_id OFFSET 0
) s ON true
LEFT JOIN LATERAL (
    SELECT max(e.store) AS store FROM evidence e
    WHERE e.chain_id = :chain_id AND e.scan_id = t.scan_id AND e.counts
      AND e.evidence_id >= t.since
) w ON true
LEFT JOIN LATERAL (
    SELECT r.store, r.city FROM routings r
    WHERE r.chain_id = :chain_id AND r.scan_id = t.scan_id
      AND r.routing_id >= t.since
    ORDER BY (r.outcome = 'code') DESC, r.routing_id DESC LIMIT 1
) r ON true
-- Of a scan that is gone.
LEFT JOIN LATERAL (
    SELECT o.* FROM scan_orders o
    WHERE s.scan_id IS NULL AND o.chain_id = :chain_id AND o.scan_id = t.scan_id LIMIT 1
) old ON true
LEFT JOIN LATERAL (
    SELECT o.amount FROM orders o
    WHERE o.chain_id = :chain_id AND o.order_no = t.first_order OFFSET 0
) first ON true
LEFT JOIN LATERAL (
    SELECT sum(r.amount) AS amount FROM orders r
    WHERE r.chain_id = :chain_id AND r.refunds = t.first_order
      AND r.joined_scan_id = t.scan_id AND r.currency = t.currency
) back ON true
WHERE coalesce(s.scan_id, old.scan_id) IS NOT NULL
ON CONFLICT (chain_id, scan_id, currency) DO UPDATE
SET scanned_at = excluded.scanned_at, day = excluded.day, entry = excluded.entry,
    placement = excluded.placement, store = excluded.store, city = excluded.city,
    orders = excluded.orders, refunds = excluded.refunds, sales = excluded.sales,
    refunded = excluded.refunded, revenue = excluded.revenue,
    first_revenue = excluded.first_revenue;

-- name: forget_scans(chain_id, scan_ids)!
-- Scans of which nothing was bought any more, in that currency.
DELETE FROM scan_orders WHERE ctid = ANY(ARRAY(
    SELECT k.place FROM unnest(:scan_ids::uuid[]) AS asked (scan_id)
    CROSS JOIN LATERAL (
        SELECT k.ctid AS place, k.scan_id, k.currency FROM scan_orders k
        WHERE k.chain_id = :chain_id AND k.scan_id = asked.scan_id OFFSET 0
    ) k
    LEFT JOIN LATERAL (
        SELECT o.order_no FROM orders o
        WHERE o.chain_id = :chain_id AND o.joined_scan_id = k.scan_id
          AND o.currency = k.currency LIMIT 1
    ) o ON true
    WHERE o.order_no IS NULL
));

-- name: forget_days(chain_id)!
DELETE FROM order_days WHERE chain_id = :chain_id;

-- name: forget_revenue(chain_id)!
DELETE FROM revenue_sums WHERE chain_id = :chain_id;

-- name: date_scans(chain_id)!
-- By the chain's time zone as it is now.
UPDATE scan_orders s SET day = (s.scanned_at AT TIME ZONE c.timezone)::date
FROM chains c WHERE c.chain_id = :chain_id AND s.chain_id = c.chain_id;

-- name: next_numbers(chain_id, after, most)
SELECT order_no FROM orders WHERE chain_id = :chain_id AND order_no > :after
ORDER BY order_no LIMIT :most;

-- name: next_scans(chain_id, after, most)
SELECT DISTINCT scan_id FROM scan_orders WHERE chain_id = :chain_id AND scan_id > :after
ORDER BY scan_id LIMIT :most;

-- ---------------------------------------------------------------- members

-- name: joins_by_id(chain_id, join_ids)
SELECT j.join_id, j.scan_id, j.store, j.joined_at
FROM unnest(:join_ids::uuid[]) AS asked (join_id)
CROSS JOIN LATERAL (
    SELECT * FROM joins j
    WHERE j.chain_id = :chain_id AND j.join_id = asked.join_id OFFSET 0
) j;

-- name: joins_by_scan(chain_id, scan_ids)
-- Of several joins of one scan the last.
SELECT j.*
FROM (SELECT scan_id, uuid7_hour_before(scan_id) AS since
      FROM unnest(:scan_ids::uuid[]) AS scan_id OFFSET 0) AS asked
CROSS JOIN LATERAL (
    SELECT j.join_id, j.scan_id, j.store, j.joined_at FROM joins j
    WHERE j.chain_id = :chain_id AND j.scan_id = asked.scan_id
      AND j.join_id >= asked.since
    ORDER BY j.joined_at DESC, j.join_id DESC LIMIT 1
) j;

-- name: joins_told(chain_id, join_ids)
-- With their LBS tags, as `join.created` tells them.
SELECT j.join_id, j.scan_id, j.visitor_id, j.entry, j.placement, j.channel, j.code_id, j.store,
    j.province, j.city, j.district, j.source, j.distance_m, j.distance_band, j.evidence,
    j.joined_at, j.left_at
FROM unnest(:join_ids::uuid[]) AS asked (join_id)
CROSS JOIN LATERAL (
    SELECT * FROM joins j
    WHERE j.chain_id = :chain_id AND j.join_id = asked.join_id OFFSET 0
) j;

-- name: keys_of_joins(chain_id, join_ids)
SELECT k.* FROM unnest(:join_ids::uuid[]) AS asked (join_id)
CROSS JOIN LATERAL (
    SELECT join_id, kind, key_hash FROM member_keys
    WHERE chain_id = :chain_id AND join_id = asked.join_id OFFSET 0
) k;

-- name: forget_keys(chain_id, join_ids, kinds)!
DELETE FROM member_keys WHERE ctid = ANY(ARRAY(
    SELECT k.place FROM unnest(:join_ids::uuid[], :kinds::text[]) AS gone (join_id, kind)
    CROSS JOIN LATERAL (
        SELECT k.ctid AS place FROM member_keys k
        WHERE k.chain_id = :chain_id AND k.join_id = gone.join_id AND k.kind = gone.kind OFFSET 0
    ) k
));

-- name: insert_keys(chain_id, key_hashes, kinds, join_ids, scan_ids, stores, joined_ats)!
INSERT INTO member_keys (chain_id, key_hash, kind, join_id, scan_id, store, joined_at)
SELECT :chain_id::uuid, new.*
FROM unnest(:key_hashes::bytea[], :kinds::text[], :join_ids::uuid[], :scan_ids::uuid[],
            :stores::text[], :joined_ats::timestamptz[]) AS new;

-- ---------------------------------------------------------------- late joins

-- name: new_evidence(chain_id, after, most)^
-- Of the evidence after `after`, the first: how much that is, the last of it, and its scans that
-- orders name or that are counted. Up to `settled_id`, all has been committed: transactions end
-- within half a minute.
WITH next AS MATERIALIZED (
    SELECT evidence_id, scan_id FROM evidence
    WHERE chain_id = :chain_id AND evidence_id > :after
    ORDER BY evidence_id LIMIT :most
)
SELECT count(*) AS looked_at,
    (SELECT evidence_id FROM next ORDER BY evidence_id DESC LIMIT 1) AS last_id,
    uuid7_floor(now() - interval '2 minutes') AS settled_id,
    array_agg(DISTINCT n.scan_id) FILTER (
        WHERE EXISTS (SELECT FROM orders o
                      WHERE o.chain_id = :chain_id AND o.scan_id = n.scan_id)
           OR EXISTS (SELECT FROM scan_orders s
                      WHERE s.chain_id = :chain_id AND s.scan_id = n.scan_id)
    ) AS scan_ids
FROM next n;

-- name: see_evidence(chain_id, seen)!
UPDATE order_ledgers SET seen_evidence = greatest(seen_evidence, :seen)
WHERE chain_id = :chain_id;

-- ---------------------------------------------------------------- lists

-- name: list_orders(chain_id, scope, matched, store, since, until, after_at, after, most)
-- Oldest first, from behind `after_at`, `after`. `until` is excluded; nulls do not filter. The
-- store is where it was bought, or else where the member joined.
SELECT * FROM orders
WHERE chain_id = :chain_id
  AND (:after_at::timestamptz IS NULL OR (at, order_no) > (:after_at, :after))
  AND (:since::timestamptz IS NULL OR at >= :since)
  AND (:until::timestamptz IS NULL OR at < :until)
  AND (:matched::boolean IS NULL OR (join_id IS NOT NULL) = :matched)
  AND (:store::text IS NULL OR coalesce(store, join_store) = :store)
  AND (:scope::text[] IS NULL OR coalesce(store, join_store) = ANY(:scope))
ORDER BY at, order_no LIMIT :most;
