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
CREATE INDEX warnings_closed ON warnings (closed_at) WHERE closed_at IS NOT NULL;
