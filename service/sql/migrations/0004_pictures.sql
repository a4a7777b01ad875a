-- What is kept of the pictures that codes were read from, and imports that go on by themselves.

-- A small copy without metadata, so that a manager sees which card it was. Gone with the code: a
-- photograph may show people, and a retired code is shown to nobody again.
CREATE TABLE code_pictures (
    chain_id   uuid NOT NULL,
    code_id    uuid NOT NULL,
    picture    bytea NOT NULL CHECK (octet_length(picture) <= 65536),
    media_type text NOT NULL,
    width      integer NOT NULL,
    height     integer NOT NULL,
    stored_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, code_id),
    FOREIGN KEY (chain_id, code_id) REFERENCES codes
);
-- It is compressed already.
ALTER TABLE code_pictures ALTER COLUMN picture SET STORAGE EXTERNAL;

-- Pictures that were read and shown, and wait for a yes.
CREATE TABLE pending_codes (
    chain_id   uuid NOT NULL REFERENCES chains,
    pending_id uuid NOT NULL,
    store      text NOT NULL,
    payload    text NOT NULL,
    picture    bytea NOT NULL CHECK (octet_length(picture) <= 65536),
    width      integer NOT NULL,
    height     integer NOT NULL,
    read_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, pending_id),
    FOREIGN KEY (chain_id, store) REFERENCES stores
);
CREATE INDEX pending_codes_due ON pending_codes (read_at);

-- What a code's place led to before it was renewed.
CREATE TABLE former_payloads (
    chain_id    uuid NOT NULL,
    payload     text NOT NULL,
    code_id     uuid NOT NULL,
    replaced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, payload, code_id),
    FOREIGN KEY (chain_id, code_id) REFERENCES codes
);
CREATE INDEX codes_retired_by_payload ON codes (chain_id, payload) WHERE status = 'retired';

-- Imports of codes that go on after they were answered. `total` is null until the files are counted.
CREATE TABLE imports (
    chain_id   uuid NOT NULL REFERENCES chains,
    import_id  uuid NOT NULL,
    file       text NOT NULL,
    dry_run    boolean NOT NULL,
    state      text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed')),
    -- Why it failed.
    detail     text,
    total      integer,
    done       integer NOT NULL DEFAULT 0,
    created    integer NOT NULL DEFAULT 0,
    unchanged  integer NOT NULL DEFAULT 0,
    rejected   integer NOT NULL DEFAULT 0,
    -- What became of each file or row, once it has ended.
    report     jsonb NOT NULL DEFAULT '{}',
    -- Whose it is: a manager sees no other's.
    actor_id   uuid,
    started_at timestamptz NOT NULL DEFAULT now(),
    -- Of one that runs, rises every few seconds: or the worker has died that ran it.
    seen_at    timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    PRIMARY KEY (chain_id, import_id)
);
CREATE INDEX imports_running ON imports (seen_at) WHERE state = 'running';
