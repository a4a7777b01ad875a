-- revenue: what scans brought, from the sums that orders.sql keeps. '' is no key.

-- name: revenue(chain_id, by, currency, steps, firsts, ends, sinces, untils, entry, store, city, channel, scope)
-- By key, null for none: the sums of spans of days (from the first to before the end), each read by
-- days, months or totals; and of the scans of pieces of days.
WITH counted AS (
    SELECT d.day, d.entry, d.placement, d.store, d.city, d.buyers, d.orders, d.refunds, d.sales,
        d.refunded, d.first_revenue
    FROM unnest(:steps::text[], :firsts::date[], :ends::date[]) AS span (step, first, until)
    JOIN revenue_sums d ON d.chain_id = :chain_id AND d.step = span.step
        AND d.currency = :currency AND d.day >= span.first AND d.day < span.until
        AND d.buyers <> 0
    UNION ALL
    SELECT s.day, s.entry, s.placement, s.store, s.city, 1, s.orders, s.refunds, s.sales,
        s.refunded, s.first_revenue
    FROM unnest(:sinces::timestamptz[], :untils::timestamptz[]) AS piece (since, until)
    JOIN scan_orders s ON s.chain_id = :chain_id AND s.currency = :currency
        AND s.scanned_at >= piece.since AND s.scanned_at < piece.until
), keyed AS (
    SELECT c.*,
        CASE :by::text
            WHEN 'store' THEN st.store
            WHEN 'brand' THEN st.brand
            WHEN 'city' THEN coalesce(st.city, nullif(c.city, ''))
            WHEN 'entry' THEN c.entry
            WHEN 'placement' THEN nullif(c.placement, '')
            WHEN 'channel' THEN p.channel
            WHEN 'variant' THEN p.variant
            WHEN 'day' THEN to_char(c.day, 'YYYY-MM-DD')
            WHEN 'week' THEN to_char(c.day, 'IYYY-"W"IW')
            WHEN 'month' THEN to_char(c.day, 'YYYY-MM')
            WHEN 'none' THEN 'all'
        END AS key
    FROM counted c
    LEFT JOIN stores st ON st.chain_id = :chain_id AND st.store = c.store
    LEFT JOIN placements p
        ON p.chain_id = :chain_id AND p.entry = c.entry AND p.placement = c.placement
    WHERE (:entry::text IS NULL OR c.entry = :entry)
      AND (:store::text IS NULL OR c.store = :store)
      AND (:city::text IS NULL OR coalesce(st.city, nullif(c.city, '')) = :city)
      AND (:channel::text IS NULL OR p.channel = :channel)
      AND (:scope::text[] IS NULL OR c.store = ANY(:scope))
)
SELECT key, sum(buyers)::bigint AS buyers, sum(orders)::bigint AS orders,
    sum(refunds)::bigint AS refunds, sum(sales) AS sales, sum(refunded) AS refunded,
    sum(first_revenue) AS first_revenue
FROM keyed GROUP BY key;

-- name: orders_by_currency(chain_id, first_day, end_day, scope)
-- The orders of these days, by currency, those that are matched to a join and those that are not.
SELECT currency, matched, sum(orders)::bigint AS orders, sum(refunds)::bigint AS refunds,
    sum(sales) AS sales, sum(refunded) AS refunded
FROM order_days
WHERE chain_id = :chain_id
  AND (:first_day::date IS NULL OR day >= :first_day)
  AND (:end_day::date IS NULL OR day < :end_day)
  AND (:scope::text[] IS NULL OR store = ANY(:scope))
GROUP BY currency, matched
HAVING sum(orders) + sum(refunds) <> 0
ORDER BY currency, matched;

-- name: median_spend(chain_id, currency, until, scope)$
-- Of the members who have bought: half of them have spent no more (of an even number, the lower of
-- the two in the middle).
WITH bought AS (
    SELECT count(*) AS members FROM scan_orders
    WHERE chain_id = :chain_id AND currency = :currency AND orders > 0
      AND scanned_at < :until AND (:scope::text[] IS NULL OR store = ANY(:scope))
)
SELECT revenue FROM scan_orders
WHERE chain_id = :chain_id AND currency = :currency AND orders > 0
  AND scanned_at < :until AND (:scope::text[] IS NULL OR store = ANY(:scope))
ORDER BY revenue
OFFSET (SELECT greatest(members - 1, 0) / 2 FROM bought) LIMIT 1;

-- name: buyers(chain_id, currency, since, until, above, scope)
-- Members who have bought, old and new, of high and low spend.
SELECT scanned_at >= :since AS new, revenue > :above::numeric AS high, count(*) AS buyers,
    sum(orders)::bigint AS orders, sum(revenue) AS revenue
FROM scan_orders
WHERE chain_id = :chain_id AND currency = :currency AND orders > 0
  AND scanned_at < :until AND (:scope::text[] IS NULL OR store = ANY(:scope))
GROUP BY 1, 2;
