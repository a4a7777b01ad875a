-- lists: what HQ's console lists, sorted, searched and cut into pages. Every row carries `total`,
-- the number of rows on all pages. `sort` is a column's name; what has no such name is sorted by
-- the key. Ties go by the key.

-- name: stores(chain_id, q, city, status, sort, down, most, skip)
-- Stores with how many codes they have and how many people can still join by those that are active
-- and have not expired (`seats`).
WITH found AS (
    SELECT s.store, s.name, s.brand, s.address, s.province, s.city, s.district, s.status,
        s.lon, s.lat, s.updated_at,
        coalesce(c.codes, 0) AS codes, coalesce(c.serving, 0) AS serving,
        coalesce(c.members, 0) AS members, coalesce(c.seats, 0) AS seats
    FROM stores s
    LEFT JOIN (
        SELECT store, count(*) AS codes, sum(members) AS members,
            count(*) FILTER (WHERE live AND members + held < capacity) AS serving,
            sum(greatest(capacity - members - held, 0)) FILTER (WHERE live) AS seats
        FROM (SELECT *, status = 'active' AND (expires_at IS NULL OR expires_at > now()) AS live
              FROM codes WHERE chain_id = :chain_id AND status <> 'retired') AS known
        GROUP BY store
    ) c ON c.store = s.store
    WHERE s.chain_id = :chain_id AND s.status <> 'deleted'
      AND (:city::text IS NULL OR s.city = :city)
      AND (:status::text IS NULL OR s.status = :status
           OR (:status = 'dark' AND s.status = 'open' AND coalesce(c.serving, 0) = 0))
      AND (:q::text IS NULL
           OR strpos(lower(concat_ws(' ', s.store, s.name, s.address, s.city)), lower(:q)) > 0)
), keyed AS (
    SELECT *, count(*) OVER () AS total,
        CASE :sort::text WHEN 'name' THEN name WHEN 'city' THEN city WHEN 'brand' THEN brand
            WHEN 'status' THEN status END AS word,
        CASE :sort::text WHEN 'codes' THEN codes WHEN 'serving' THEN serving
            WHEN 'members' THEN members WHEN 'seats' THEN seats END AS figure
    FROM found
)
SELECT * FROM keyed
ORDER BY CASE WHEN NOT :down::boolean THEN word END, CASE WHEN :down THEN word END DESC NULLS LAST,
    CASE WHEN NOT :down THEN figure END, CASE WHEN :down THEN figure END DESC NULLS LAST,
    CASE WHEN :down AND word IS NULL AND figure IS NULL THEN store END DESC, store
LIMIT :most OFFSET :skip;

-- name: codes(chain_id, q, state, store, sort, down, most, skip)
-- Codes that are not retired, with their store's name. `state` is the one word of
-- `service.web.console.CodeState`, the first that is true.
WITH found AS (
    SELECT c.*, s.name AS store_name, s.city,
        greatest(c.capacity - c.members - c.held, 0) AS seats,
        (c.members + c.held)::float8 / c.capacity AS fill,
        CASE
            WHEN c.status <> 'active' AND c.flagged_at IS NOT NULL THEN 'reported'
            WHEN c.status <> 'active' THEN 'paused'
            WHEN c.expires_at <= now() THEN 'expired'
            WHEN c.members + c.held >= c.capacity THEN 'full'
            WHEN c.expires_at < now() + interval '48 hours' THEN 'expiring'
            WHEN c.members + c.held >= 0.8 * c.capacity THEN 'nearly_full'
            ELSE 'serving'
        END AS state
    FROM codes c
    LEFT JOIN stores s ON s.chain_id = c.chain_id AND s.store = c.store
    WHERE c.chain_id = :chain_id AND c.status <> 'retired'
      AND (:store::text IS NULL OR c.store = :store)
      AND (:q::text IS NULL
           OR strpos(lower(concat_ws(' ', c.store, s.name, c.label, s.city)), lower(:q)) > 0)
), keyed AS (
    SELECT *, count(*) OVER () AS total,
        CASE :sort::text WHEN 'store_name' THEN store_name WHEN 'label' THEN label
            WHEN 'kind' THEN kind WHEN 'state' THEN state END AS word,
        CASE :sort::text WHEN 'members' THEN members WHEN 'held' THEN held
            WHEN 'capacity' THEN capacity WHEN 'seats' THEN seats WHEN 'fill' THEN fill
            WHEN 'expires_at' THEN extract(epoch FROM expires_at) END AS figure
    FROM found
    WHERE :state::text IS NULL OR state = :state
)
SELECT * FROM keyed
ORDER BY CASE WHEN NOT :down::boolean THEN word END, CASE WHEN :down THEN word END DESC NULLS LAST,
    CASE WHEN NOT :down THEN figure END, CASE WHEN :down THEN figure END DESC NULLS LAST,
    CASE WHEN :down AND word IS NULL AND figure IS NULL THEN store END DESC, store, position,
    code_id
LIMIT :most OFFSET :skip;

-- name: placements(chain_id, q, entry, channel, sort, down, most, skip)
WITH found AS (
    SELECT p.entry, p.placement, p.name, p.channel, p.store, s.name AS store_name, p.printed,
        p.cost::float8 AS cost, p.variant, p.updated_at
    FROM placements p
    LEFT JOIN stores s ON s.chain_id = p.chain_id AND s.store = p.store
    WHERE p.chain_id = :chain_id
      AND (:entry::text IS NULL OR p.entry = :entry)
      AND (:channel::text IS NULL OR p.channel = :channel)
      AND (:q::text IS NULL
           OR strpos(lower(concat_ws(' ', p.placement, p.name, p.store, s.name)), lower(:q)) > 0)
), keyed AS (
    SELECT *, count(*) OVER () AS total,
        CASE :sort::text WHEN 'name' THEN name WHEN 'entry' THEN entry WHEN 'channel' THEN channel
            WHEN 'store_name' THEN store_name WHEN 'variant' THEN variant END AS word,
        CASE :sort::text WHEN 'printed' THEN printed WHEN 'cost' THEN cost END AS figure
    FROM found
)
SELECT * FROM keyed
ORDER BY CASE WHEN NOT :down::boolean THEN word END, CASE WHEN :down THEN word END DESC NULLS LAST,
    CASE WHEN NOT :down THEN figure END, CASE WHEN :down THEN figure END DESC NULLS LAST,
    CASE WHEN :down AND word IS NULL AND figure IS NULL THEN placement END DESC, entry, placement
LIMIT :most OFFSET :skip;

-- name: orders(chain_id, q, member_hash, matched, store, since, until, sort, down, most, skip)
-- Orders and refunds of a period; `until` is excluded. `q` is looked for in numbers, in what may be
-- read of members, and in stores: where it was bought and where the member joined; `member_hash` is
-- the member that it names, if it names one. `total` is counted by the narrow rows: there may be
-- hundreds of thousands.
WITH found AS MATERIALIZED (
    SELECT o.order_no,
        CASE :sort::text WHEN 'store_name' THEN coalesce(s.name, o.store)
            WHEN 'joined_at_store' THEN j.name WHEN 'rule' THEN o.rule
            WHEN 'currency' THEN o.currency WHEN 'member' THEN o.member END AS word,
        CASE :sort::text WHEN 'at' THEN extract(epoch FROM o.at) WHEN 'amount' THEN o.amount
            WHEN 'matched' THEN (o.join_id IS NULL)::int END AS figure
    FROM orders o
    LEFT JOIN stores s ON s.chain_id = o.chain_id AND s.store = o.store
    LEFT JOIN stores j ON j.chain_id = o.chain_id AND j.store = o.join_store
    WHERE o.chain_id = :chain_id AND o.at >= :since AND o.at < :until
      AND (:matched::boolean IS NULL OR (o.join_id IS NOT NULL) = :matched)
      AND (:store::text IS NULL OR coalesce(o.store, o.join_store) = :store)
      AND (:q::text IS NULL OR o.member_hash = :member_hash
           OR strpos(lower(concat_ws(' ', o.order_no, o.refunds, o.member, o.store, s.name,
                                     o.join_store, j.name)), lower(:q)) > 0)
), page AS MATERIALIZED (
    SELECT row_number() OVER () AS place, arranged.order_no FROM (
        SELECT order_no FROM found
        ORDER BY CASE WHEN NOT :down::boolean THEN word END,
            CASE WHEN :down THEN word END DESC NULLS LAST,
            CASE WHEN NOT :down THEN figure END, CASE WHEN :down THEN figure END DESC NULLS LAST,
            CASE WHEN :down THEN order_no END DESC, order_no
        LIMIT :most OFFSET :skip
    ) AS arranged
)
SELECT o.*, (SELECT count(*) FROM found) AS total
FROM page JOIN orders o ON o.chain_id = :chain_id AND o.order_no = page.order_no
ORDER BY page.place;

-- name: cities(chain_id)
SELECT DISTINCT city FROM stores
WHERE chain_id = :chain_id AND status <> 'deleted' AND city IS NOT NULL ORDER BY city;
