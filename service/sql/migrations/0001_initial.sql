-- nearcode, first schema. Every table leads with chain_id (the tenant).
-- What HQ edits: chains, stores, codes, entries, placements, api_keys.
-- What is live: visitors, holds (these are partitioned too, and settle in place).
-- What happened (append-only, keyed by UUIDv7, partitioned by month of that key):
-- scans, fixes, routings, evidence, joins, complaints.

CREATE TABLE chains (
    chain_id    uuid PRIMARY KEY,
    chain       text NOT NULL UNIQUE CHECK (chain ~ '^[a-z0-9][a-z0-9-]{0,63}$'),
    name        text NOT NULL,
    timezone    text NOT NULL DEFAULT 'Asia/Shanghai',
    -- Grows by one with every change of the catalog, under this row's lock, so that
    -- versions become visible in order and a worker can ask "what is newer than N?".
    version     bigint NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE stores (
    chain_id     uuid NOT NULL REFERENCES chains,
    store        text NOT NULL CHECK (store <> '' AND length(store) <= 64),
    name         text NOT NULL,
    brand        text,
    address      text,
    province     text,
    city         text,
    district     text,
    -- WGS-84 degrees, and what was given, in its own datum.
    lon          double precision NOT NULL CHECK (lon BETWEEN -180 AND 180),
    lat          double precision NOT NULL CHECK (lat BETWEEN -90 AND 90),
    datum        text NOT NULL DEFAULT 'wgs84' CHECK (datum IN ('wgs84', 'gcj02', 'bd09')),
    given_lon    double precision NOT NULL,
    given_lat    double precision NOT NULL,
    tags         text[] NOT NULL DEFAULT '{}',
    service_area jsonb,
    status       text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'closed', 'deleted')),
    version      bigint NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, store)
);
CREATE INDEX stores_changed ON stores (chain_id, version);

CREATE TABLE codes (
    chain_id    uuid NOT NULL REFERENCES chains,
    code_id     uuid NOT NULL,
    -- Null: a fallback code of an entry, which belongs to no store.
    store       text,
    kind        text NOT NULL,
    payload     text NOT NULL,
    label       text,
    capacity    integer NOT NULL CHECK (capacity >= 1),
    members     integer NOT NULL DEFAULT 0 CHECK (members >= 0),
    held        integer NOT NULL DEFAULT 0 CHECK (held >= 0),
    counted_by  text NOT NULL DEFAULT 'pressed' CHECK (counted_by IN ('pressed', 'joined')),
    status      text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'retired')),
    expires_at  timestamptz,
    -- The order in which a store's codes are filled: lowest first.
    position    integer NOT NULL DEFAULT 0,
    version     bigint NOT NULL DEFAULT 0,
    -- Grows with every update of this row, seats included: of two things that a worker hears about
    -- the counters, the one with the higher revision is the later.
    revision    bigint NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, code_id),
    FOREIGN KEY (chain_id, store) REFERENCES stores,
    -- Seats are kept only while there is room. `members` alone may exceed capacity: a head count
    -- tells what is, not what should be.
    CONSTRAINT never_oversold CHECK (held = 0 OR members + held <= capacity)
);
CREATE INDEX codes_changed ON codes (chain_id, version);
CREATE INDEX codes_of_store ON codes (chain_id, store, position);
CREATE UNIQUE INDEX one_code_per_payload ON codes (chain_id, payload) WHERE status <> 'retired';
CREATE INDEX codes_by_id ON codes (code_id);

CREATE TABLE entries (
    chain_id    uuid NOT NULL REFERENCES chains,
    -- Printed on paper: unique over all chains, and never given out twice.
    entry       text NOT NULL UNIQUE CHECK (entry ~ '^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$'),
    name        text NOT NULL,
    radius_m    double precision CHECK (radius_m > 0),
    brands      text[] NOT NULL DEFAULT '{}',
    ip_policy   text NOT NULL DEFAULT 'choose' CHECK (ip_policy IN ('choose', 'nearest', 'never')),
    fallback    uuid[] NOT NULL DEFAULT '{}',
    version     bigint NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, entry)
);

CREATE TABLE placements (
    chain_id    uuid NOT NULL,
    entry       text NOT NULL,
    placement   text NOT NULL CHECK (placement ~ '^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$'),
    name        text NOT NULL,
    channel     text NOT NULL,
    store       text,
    printed     integer CHECK (printed >= 0),
    cost        numeric(14, 2) CHECK (cost >= 0),
    variant     text,
    version     bigint NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, entry, placement),
    FOREIGN KEY (chain_id, entry) REFERENCES entries,
    FOREIGN KEY (chain_id, store) REFERENCES stores
);

CREATE TABLE api_keys (
    chain_id    uuid NOT NULL REFERENCES chains,
    key_id      uuid NOT NULL,
    name        text NOT NULL,
    role        text NOT NULL CHECK (role IN ('hq', 'manager', 'read')),
    stores      text[] NOT NULL DEFAULT '{}',
    -- SHA-256 of the key: 32 random bytes need no slow hash.
    key_hash    bytea NOT NULL UNIQUE,
    created_at  timestamptz NOT NULL DEFAULT now(),
    revoked_at  timestamptz,
    PRIMARY KEY (chain_id, key_id)
);

-- One row: what this installation signs and hashes with.
CREATE TABLE installation (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    secret  bytea NOT NULL
);

-- What must be remembered of one visitor at one entry: the seat they have, and, while they are
-- being served, where they stand. Its row lock makes concurrent requests of one visitor take turns.
CREATE TABLE visitors (
    chain_id    uuid NOT NULL,
    visitor_id  uuid NOT NULL,
    entry       text NOT NULL,
    hold_id     uuid,
    code_id     uuid,
    held_at     timestamptz,
    -- The exact last position, WGS-84 degrees; forgotten after NEARCODE_POSITION_MINUTES.
    lon         double precision,
    lat         double precision,
    accuracy_m  double precision,
    source      text,
    located_at  timestamptz,
    PRIMARY KEY (chain_id, visitor_id, entry)
);
CREATE INDEX visitors_located ON visitors (located_at) WHERE located_at IS NOT NULL;

-- A seat kept for one visitor: held -> joined | released | expired, and expired -> joined when the
-- evidence comes late and there is still room.
CREATE TABLE holds (
    chain_id    uuid NOT NULL,
    hold_id     uuid NOT NULL,
    scan_id     uuid NOT NULL,
    visitor_id  uuid NOT NULL,
    entry       text NOT NULL,
    code_id     uuid NOT NULL,
    store       text,
    state       text NOT NULL DEFAULT 'held'
                CHECK (state IN ('held', 'joined', 'released', 'expired')),
    held_at     timestamptz NOT NULL,
    held_until  timestamptz NOT NULL,
    settled_at  timestamptz,
    PRIMARY KEY (chain_id, hold_id),
    CHECK ((state = 'held') = (settled_at IS NULL))
) PARTITION BY RANGE (hold_id);
CREATE INDEX holds_due ON holds (held_until) WHERE state = 'held';

CREATE TABLE scans (
    chain_id           uuid NOT NULL,
    scan_id            uuid NOT NULL,
    entry              text NOT NULL,
    placement          text,
    -- The placement that the URL named and that is not known: counted as none, kept to be seen.
    unknown_placement  text,
    visitor_id         uuid NOT NULL,
    scanned_at         timestamptz NOT NULL,
    via                text NOT NULL CHECK (via IN ('page', 'api')),
    bot                text,
    browser            text,
    language           text,
    address_hash       bytea,
    PRIMARY KEY (chain_id, scan_id)
) PARTITION BY RANGE (scan_id);

-- Positions, coarsened to three decimals (about 100 m) before they are written.
CREATE TABLE fixes (
    chain_id    uuid NOT NULL,
    fix_id      uuid NOT NULL,
    scan_id     uuid NOT NULL,
    source      text NOT NULL,
    datum       text NOT NULL,
    lon         double precision NOT NULL,
    lat         double precision NOT NULL,
    accuracy_m  double precision NOT NULL,
    province    text,
    city        text,
    district    text,
    fixed_at    timestamptz NOT NULL,
    PRIMARY KEY (chain_id, fix_id)
) PARTITION BY RANGE (fix_id);
CREATE INDEX fixes_of_scan ON fixes (chain_id, scan_id, fix_id);

-- Every decision, with what was considered and why it was skipped.
CREATE TABLE routings (
    chain_id    uuid NOT NULL,
    routing_id  uuid NOT NULL,
    scan_id     uuid NOT NULL,
    outcome     text NOT NULL CHECK (outcome IN ('code', 'choose', 'unserved')),
    reason      text NOT NULL,
    source      text,
    accuracy_m  double precision,
    province    text,
    city        text,
    district    text,
    store       text,
    distance_m  double precision,
    code_id     uuid,
    hold_id     uuid,
    held_until  timestamptz,
    hops        jsonb NOT NULL DEFAULT '[]',
    choices     jsonb NOT NULL DEFAULT '[]',
    routed_at   timestamptz NOT NULL,
    PRIMARY KEY (chain_id, routing_id)
) PARTITION BY RANGE (routing_id);
CREATE INDEX routings_of_scan ON routings (chain_id, scan_id, routing_id);

-- pressed < reported < verified. `counts`: it reached what its code was counted by.
CREATE TABLE evidence (
    chain_id     uuid NOT NULL,
    evidence_id  uuid NOT NULL,
    scan_id      uuid NOT NULL,
    hold_id      uuid,
    code_id      uuid,
    store        text,
    kind         text NOT NULL CHECK (kind IN ('pressed', 'reported', 'verified')),
    counts       boolean NOT NULL,
    seen_at      timestamptz NOT NULL,
    PRIMARY KEY (chain_id, evidence_id)
) PARTITION BY RANGE (evidence_id);
CREATE INDEX evidence_of_scan ON evidence (chain_id, scan_id);

-- Holds that became membership, with their LBS tags: what downstream systems are given.
CREATE TABLE joins (
    chain_id       uuid NOT NULL,
    join_id        uuid NOT NULL,
    scan_id        uuid NOT NULL,
    hold_id        uuid NOT NULL,
    visitor_id     uuid NOT NULL,
    entry          text NOT NULL,
    placement      text,
    channel        text,
    code_id        uuid NOT NULL,
    store          text,
    province       text,
    city           text,
    district       text,
    source         text,
    distance_m     double precision,
    distance_band  text,
    evidence       text NOT NULL CHECK (evidence IN ('pressed', 'reported', 'verified')),
    joined_at      timestamptz NOT NULL,
    left_at        timestamptz,
    PRIMARY KEY (chain_id, join_id)
) PARTITION BY RANGE (join_id);
CREATE INDEX joins_of_scan ON joins (chain_id, scan_id);
CREATE INDEX joins_of_hold ON joins (chain_id, hold_id);

-- What visitors say of a code that failed them, or of the page: full, expired, broken, denied.
CREATE TABLE complaints (
    chain_id      uuid NOT NULL,
    complaint_id  uuid NOT NULL,
    scan_id       uuid NOT NULL,
    visitor_id    uuid NOT NULL,
    code_id       uuid,
    store         text,
    kind          text NOT NULL CHECK (kind IN ('full', 'expired', 'broken', 'denied')),
    said_at       timestamptz NOT NULL,
    PRIMARY KEY (chain_id, complaint_id)
) PARTITION BY RANGE (complaint_id);
CREATE INDEX complaints_of_visitor ON complaints (chain_id, visitor_id, complaint_id);

-- The lowest UUIDv7 of an instant (RFC 9562, 5.7): the first 48 bits are Unix milliseconds.
CREATE FUNCTION uuid7_floor(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT (lpad(to_hex(greatest(0, floor(extract(epoch FROM at) * 1000))::bigint), 12, '0')
            || '00000000000000000000')::uuid
$$;

-- Makes the month's partitions of every event table that are missing. One session at a time.
CREATE FUNCTION ensure_month(month date) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    event_table text;
    partition   text;
    first_day   timestamptz := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
    next_month  timestamptz := (date_trunc('month', month::timestamp) + interval '1 month')
                               AT TIME ZONE 'UTC';
    made        integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('nearcode.ensure_month'));
    FOREACH event_table IN ARRAY ARRAY['holds', 'scans', 'fixes', 'routings', 'evidence', 'joins',
                                       'complaints']
    LOOP
        partition := event_table || '_' || to_char(first_day AT TIME ZONE 'UTC', 'YYYY_MM');
        IF to_regclass(partition) IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                           partition, event_table,
                           uuid7_floor(first_day), uuid7_floor(next_month));
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END
$$;
