-- Warnings: what will break, or has broken, at a store or with a code. One is open for as long as
-- what it warns of is so; service/warnings.py compares the two.
CREATE TABLE warnings (
    chain_id      uuid NOT NULL REFERENCES chains,
    warning_id    uuid NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('filling', 'nearly_full', 'full', 'expiring',
                                                'expiring_soon', 'expired', 'reported',
                                                'not_serving')),
    -- Null: a fallback code of an entry, which belongs to no store.
    store         text,
    -- Null: the store itself.
    code_id       uuid,
    subject       text NOT NULL GENERATED ALWAYS AS (coalesce(code_id::text, store)) STORED,
    -- As it was when it was raised.
    details       jsonb NOT NULL DEFAULT '{}',
    -- The version of the code or store when it was last seen to be wrong: has anybody edited it?
    version       bigint NOT NULL,
    -- Since when it has been well again by itself: seats that ran out may be taken again.
    mended_since  timestamptz,
    raised_at     timestamptz NOT NULL,
    closed_at     timestamptz,
    PRIMARY KEY (chain_id, warning_id)
);
CREATE UNIQUE INDEX one_open_warning ON warnings (chain_id, kind, subject)
    WHERE closed_at IS NULL;
-- When all was last looked at, by whichever worker; as of which versions of the chains; and when it
-- may be again, where a look takes long.
CREATE TABLE warning_looks (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    looked_at   timestamptz NOT NULL DEFAULT '-infinity',
    versions    numeric NOT NULL DEFAULT -1,
    not_before  timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO warning_looks DEFAULT VALUES;

CREATE INDEX warnings_closed ON warnings (closed_at) WHERE closed_at IS NOT NULL;

-- Outgoing webhooks. What happens is written here by the transaction in which it happens, once for
-- every endpoint that wants it, and sent afterwards (service/outbox.py, service/webhook_delivery.py).

-- What an enabled endpoint of the chain wants to hear of: workers know it with the chain, so that
-- what nobody wants costs nothing.
ALTER TABLE chains ADD COLUMN webhook_events text[] NOT NULL DEFAULT '{}';

CREATE TABLE webhooks (
    chain_id         uuid NOT NULL REFERENCES chains,
    webhook_id       uuid NOT NULL,
    url              text NOT NULL,
    description      text NOT NULL DEFAULT '',
    events           text[] NOT NULL CHECK (cardinality(events) > 0),
    -- What its secret is made of, with the installation's own; the one before it signs as well
    -- until `old_until`.
    salt             bytea NOT NULL,
    old_salt         bytea,
    old_until        timestamptz,
    enabled          boolean NOT NULL DEFAULT true,
    -- Why nearcode itself has disabled it: it answered 410 Gone, or has failed for days.
    disabled_reason  text CHECK (disabled_reason IN ('gone', 'failing')),
    disabled_at      timestamptz,
    failing_since    timestamptz,
    -- It asked for patience until then.
    not_before       timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, webhook_id)
);

CREATE TABLE outbox (
    chain_id  uuid NOT NULL,
    event_id  uuid NOT NULL,
    event     text NOT NULL,
    -- What is sent, to the byte: it is the same at every attempt.
    body      text NOT NULL,
    put_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, event_id)
);

CREATE TABLE deliveries (
    chain_id      uuid NOT NULL,
    webhook_id    uuid NOT NULL,
    event_id      uuid NOT NULL,
    state         text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
    -- When it is tried next. Whoever takes it puts it off by as long as an attempt may take: should
    -- they die, it is taken again then.
    due_at        timestamptz DEFAULT now(),
    attempts      integer NOT NULL DEFAULT 0,
    -- It is given up some days after.
    since         timestamptz NOT NULL DEFAULT now(),
    attempted_at  timestamptz,
    -- What came of the last attempt: the HTTP status if there was an answer, else why not.
    status        integer,
    error         text,
    duration_ms   integer,
    settled_at    timestamptz,
    PRIMARY KEY (chain_id, webhook_id, event_id),
    CHECK ((state = 'pending') = (due_at IS NOT NULL))
);
CREATE INDEX deliveries_due ON deliveries (chain_id, webhook_id, due_at) WHERE state = 'pending';

-- Where a CRM sends the visitor next, by its answer to `join.created`.
ALTER TABLE joins ADD COLUMN next_url text;
