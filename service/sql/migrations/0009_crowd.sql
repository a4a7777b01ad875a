-- Past days that `nearcode simulate --history` has written: an entry has one history, and goes on
-- with it. Everything before `written_until` is there.
CREATE TABLE histories (
    chain_id       uuid NOT NULL,
    entry          text NOT NULL,
    seed           bigint NOT NULL,
    scans_a_day    integer NOT NULL CHECK (scans_a_day > 0),
    since          timestamptz NOT NULL,
    written_until  timestamptz NOT NULL,
    -- The stores whose managers do not look: they could serve nobody when it began.
    asleep         text[] NOT NULL,
    PRIMARY KEY (chain_id, entry),
    FOREIGN KEY (chain_id, entry) REFERENCES entries
);

-- A session whose search_path begins with `past, pg_catalog` lives at the time that it has set as
-- `nearcode.now`: what is written there is written as then, by the same queries.
CREATE SCHEMA past;
CREATE FUNCTION past.now() RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT current_setting('nearcode.now')::timestamptz
$$;
