-- People, their sessions and invitations, and the log of what was changed.

-- The event tables, so that a later migration adds one by a row: ensure_month makes their
-- partitions.
CREATE TABLE IF NOT EXISTS event_tables (name text PRIMARY KEY);
INSERT INTO event_tables (name)
VALUES ('holds'), ('scans'), ('fixes'), ('routings'), ('evidence'), ('joins'), ('complaints')
ON CONFLICT DO NOTHING;

-- Makes the month's partitions of every event table that are missing. One session at a time.
CREATE OR REPLACE FUNCTION ensure_month(month date) RETURNS integer
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
    FOR event_table IN SELECT name FROM event_tables ORDER BY name LOOP
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

-- HQ people and readers sign in with e-mail and password; managers by an invitation, on the phone
-- that opens it.
CREATE TABLE people (
    chain_id        uuid NOT NULL REFERENCES chains,
    person_id       uuid NOT NULL,
    name            text NOT NULL CHECK (name <> ''),
    role            text NOT NULL CHECK (role IN ('hq', 'manager', 'read')),
    stores          text[] NOT NULL DEFAULT '{}',
    -- In lower case.
    email           text,
    -- Argon2id. Null: none was chosen yet.
    password_hash   text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    deactivated_at  timestamptz,
    PRIMARY KEY (chain_id, person_id),
    CONSTRAINT managers_have_no_password
        CHECK ((role = 'manager') = (email IS NULL) AND (email IS NOT NULL OR password_hash IS NULL))
);
-- Who signs in does not say in which chain.
CREATE UNIQUE INDEX one_person_per_email ON people (email);

-- Somebody's browser. Of its token only the SHA-256 is kept: 32 random bytes need no slow hash.
CREATE TABLE sessions (
    chain_id    uuid NOT NULL REFERENCES chains,
    session_id  uuid NOT NULL,
    token_hash  bytea NOT NULL UNIQUE,
    person_id   uuid,
    key_id      uuid,
    -- What the browser calls itself.
    agent       text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now(),
    -- To the hour.
    seen_at     timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    ended_at    timestamptz,
    PRIMARY KEY (chain_id, session_id),
    FOREIGN KEY (chain_id, person_id) REFERENCES people,
    FOREIGN KEY (chain_id, key_id) REFERENCES api_keys,
    CONSTRAINT of_a_person_or_a_key CHECK (num_nonnulls(person_id, key_id) = 1)
);
CREATE INDEX sessions_of_person ON sessions (chain_id, person_id);
CREATE INDEX sessions_of_key ON sessions (chain_id, key_id);

-- Links that make somebody a manager, or sign a manager in on another phone: each works once.
CREATE TABLE invitations (
    chain_id       uuid NOT NULL REFERENCES chains,
    invitation_id  uuid NOT NULL,
    token_hash     bytea NOT NULL UNIQUE,
    name           text NOT NULL,
    stores         text[] NOT NULL,
    -- Whom it is for, or who came by it.
    person_id      uuid,
    created_at     timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz NOT NULL,
    used_at        timestamptz,
    revoked_at     timestamptz,
    PRIMARY KEY (chain_id, invitation_id),
    FOREIGN KEY (chain_id, person_id) REFERENCES people
);

-- Links by which a person chooses a password: each works once.
CREATE TABLE password_links (
    chain_id    uuid NOT NULL REFERENCES chains,
    link_id     uuid NOT NULL,
    token_hash  bytea NOT NULL UNIQUE,
    person_id   uuid NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    -- Used, or replaced by a newer one.
    ended_at    timestamptz,
    PRIMARY KEY (chain_id, link_id),
    FOREIGN KEY (chain_id, person_id) REFERENCES people
);
CREATE INDEX password_links_of_person ON password_links (chain_id, person_id);

-- How often somebody has tried to sign in of late, by a keyed hash of the e-mail address or of the
-- IP address: of the installation, since a wrong address belongs to no chain.
CREATE TABLE sign_in_attempts (
    subject   bytea PRIMARY KEY,
    attempts  integer NOT NULL,
    since     timestamptz NOT NULL
);

-- Who changed what, before and after: only what differs, and no secrets.
CREATE TABLE audit (
    chain_id    uuid NOT NULL REFERENCES chains,
    audit_id    uuid NOT NULL,
    at          timestamptz NOT NULL DEFAULT now(),
    actor_kind  text NOT NULL
        CHECK (actor_kind IN ('person', 'manager', 'key', 'cli', 'visitors', 'system')),
    -- The person or key.
    actor_id    uuid,
    actor_name  text NOT NULL,
    -- thing.verb
    action      text NOT NULL CHECK (action ~ '^[a-z_]+\.[a-z_]+$'),
    -- The number, name or id of the thing.
    subject     text NOT NULL,
    store       text,
    before      jsonb,
    after       jsonb,
    PRIMARY KEY (chain_id, audit_id)
);
CREATE INDEX audit_of_subject ON audit (chain_id, subject, audit_id);
