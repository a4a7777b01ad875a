-- What members buy (service/orders.py). Orders are corrected under the chain's own number, so that
-- they are no event table: see docs/decisions/0016-orders.md.

-- What amounts are in that name no currency (ISO 4217).
ALTER TABLE chains ADD COLUMN currency text NOT NULL DEFAULT 'CNY'
    CHECK (currency ~ '^[A-Z]{3}$');

-- One row a chain that has orders or knows members. Its lock makes all that changes them take
-- turns: which order belongs to which join never depends on who was first.
CREATE TABLE order_ledgers (
    chain_id       uuid PRIMARY KEY REFERENCES chains,
    -- Joins that came later than their orders are looked for in the evidence after this.
    seen_evidence  uuid NOT NULL
);

CREATE TABLE orders (
    chain_id        uuid NOT NULL REFERENCES chains,
    -- The chain's own number; "order" is a word of SQL's.
    order_no        text NOT NULL CHECK (order_no <> '' AND length(order_no) <= 64),
    kind            text NOT NULL CHECK (kind IN ('order', 'refund')),
    at              timestamptz NOT NULL,
    -- A refund's, too, is not negative.
    amount          numeric(16, 4) NOT NULL CHECK (amount >= 0),
    currency        text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    -- Where it was bought, if that is known.
    store           text,
    -- What may be read of the member's key, its kind (null: any), and its keyed hash.
    member          text,
    member_kind     text,
    member_hash     bytea,
    scan_id         uuid,
    refunds         text,
    -- The join that it is matched to, by which rule, and how sure that is.
    join_id         uuid,
    joined_scan_id  uuid,
    join_store      text,
    rule            text,
    confidence      double precision,
    matched_at      timestamptz,
    received_at     timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, order_no),
    CONSTRAINT matched_as_a_whole CHECK (
        (join_id IS NULL) = (joined_scan_id IS NULL) AND (join_id IS NULL) = (rule IS NULL)
        AND (join_id IS NULL) = (confidence IS NULL) AND (join_id IS NULL) = (matched_at IS NULL)
        AND (join_id IS NOT NULL OR join_store IS NULL)),
    CONSTRAINT only_refunds_refund CHECK (refunds IS NULL OR kind = 'refund')
);
CREATE INDEX orders_by_time ON orders (chain_id, at, order_no);
CREATE INDEX orders_unmatched ON orders (chain_id, at, order_no) WHERE join_id IS NULL;
CREATE INDEX orders_of_member ON orders (chain_id, member_hash) WHERE member_hash IS NOT NULL;
CREATE INDEX orders_naming_scan ON orders (chain_id, scan_id) WHERE scan_id IS NOT NULL;
CREATE INDEX orders_refunded ON orders (chain_id, refunds) WHERE refunds IS NOT NULL;
CREATE INDEX orders_of_scan ON orders (chain_id, joined_scan_id) WHERE joined_scan_id IS NOT NULL;

-- Who a join became, by keyed hashes. What is needed of the join stands here, too, and does not
-- change.
CREATE TABLE member_keys (
    chain_id   uuid NOT NULL REFERENCES chains,
    key_hash   bytea NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('unionid', 'external_userid', 'phone', 'member')),
    join_id    uuid NOT NULL,
    scan_id    uuid NOT NULL,
    store      text,
    joined_at  timestamptz NOT NULL,
    told_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, key_hash, kind, join_id)
);
CREATE UNIQUE INDEX one_key_of_a_kind ON member_keys (chain_id, join_id, kind);

-- What came of a scan's joins, by currency, and under which keys it is counted: as the funnel has
-- them. '' is none.
CREATE TABLE scan_orders (
    chain_id       uuid NOT NULL,
    scan_id        uuid NOT NULL,
    currency       text NOT NULL,
    scanned_at     timestamptz NOT NULL,
    -- In the chain's time zone.
    day            date NOT NULL,
    entry          text NOT NULL,
    placement      text NOT NULL,
    store          text NOT NULL,
    -- Where the visitor was; the store's own city goes before it.
    city           text NOT NULL,
    orders         integer NOT NULL,
    refunds        integer NOT NULL,
    sales          numeric NOT NULL,
    refunded       numeric NOT NULL,
    revenue        numeric NOT NULL,
    -- The first order less what was paid back of it by name.
    first_revenue  numeric NOT NULL,
    PRIMARY KEY (chain_id, scan_id, currency)
);
CREATE INDEX scan_orders_by_revenue
    ON scan_orders (chain_id, currency, revenue) INCLUDE (scanned_at, orders, store);
CREATE INDEX scan_orders_by_time ON scan_orders (chain_id, scanned_at);

-- The sums of scan_orders, kept by the same transactions: by day and key, by month (its first day)
-- and key, and by day alone ('total', all keys ''). A report reads whole months, the days at its
-- period's ends, or the days alone if that is all it asks.
CREATE TABLE revenue_sums (
    chain_id       uuid NOT NULL,
    step           text NOT NULL CHECK (step IN ('day', 'month', 'total')),
    day            date NOT NULL,
    currency       text NOT NULL,
    entry          text NOT NULL,
    placement      text NOT NULL,
    store          text NOT NULL,
    city           text NOT NULL,
    buyers         bigint NOT NULL,
    orders         bigint NOT NULL,
    refunds        bigint NOT NULL,
    sales          numeric NOT NULL,
    refunded       numeric NOT NULL,
    first_revenue  numeric NOT NULL,
    PRIMARY KEY (chain_id, step, currency, day, entry, placement, store, city)
);

-- The sums of orders by their own day, matched and unmatched, kept by the same transactions. The
-- store is where it was bought, or else where the member joined.
CREATE TABLE order_days (
    chain_id  uuid NOT NULL,
    day       date NOT NULL,
    currency  text NOT NULL,
    store     text NOT NULL,
    matched   boolean NOT NULL,
    orders    bigint NOT NULL,
    refunds   bigint NOT NULL,
    sales     numeric NOT NULL,
    refunded  numeric NOT NULL,
    PRIMARY KEY (chain_id, day, currency, store, matched)
);

-- An hour before a UUIDv7 was made: no later one is below, whichever host's clock made it.
CREATE FUNCTION uuid7_hour_before(id uuid) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT uuid7_floor(uuid7_time(id) - interval '1 hour')
$$;

-- For the roll-ups: what a scan brought in the chain's currency. Others are never added to it.
CREATE OR REPLACE FUNCTION orders_of_scan(chain uuid, scan uuid)
RETURNS TABLE (orders bigint, revenue numeric)
LANGUAGE sql STABLE AS $$
    SELECT s.orders::bigint, s.revenue
    FROM scan_orders s JOIN chains c ON c.chain_id = s.chain_id AND c.currency = s.currency
    WHERE s.chain_id = orders_of_scan.chain AND s.scan_id = orders_of_scan.scan
$$;
