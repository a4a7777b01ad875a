-- What visitors write goes into the database many at a time (service/journal.py).

-- Grows with every decision that is written for this visitor: a worker that remembers the visitor's
-- scans as of this revision need not read them again.
ALTER TABLE visitors ADD COLUMN revision bigint NOT NULL DEFAULT 0;

-- The codes that this visitor called full, expired or broken, and when they last did.
ALTER TABLE visitors ADD COLUMN reported uuid[] NOT NULL DEFAULT '{}';
ALTER TABLE visitors ADD COLUMN reported_at timestamptz;
UPDATE visitors SET reported = said.codes, reported_at = said.last_at
FROM (
    SELECT chain_id, visitor_id, array_agg(DISTINCT code_id) AS codes, max(said_at) AS last_at
    FROM complaints
    WHERE kind <> 'denied' AND code_id IS NOT NULL
      AND complaint_id >= uuid7_floor(now() - interval '1 day')
    GROUP BY chain_id, visitor_id
) AS said
WHERE visitors.chain_id = said.chain_id AND visitors.visitor_id = said.visitor_id;
DROP INDEX complaints_of_visitor;

-- A code that several visitors said does not work is paused, and flagged until its manager has
-- looked: a head count, a new picture or a word opens it again. What was said before does not count
-- any more then.
ALTER TABLE codes ADD COLUMN flagged_at timestamptz;
ALTER TABLE codes ADD COLUMN trusted_since timestamptz NOT NULL DEFAULT now();
CREATE INDEX complaints_of_code ON complaints (chain_id, code_id, complaint_id);

-- Whose seats these are, as far as an address tells: no address or network takes them all. Keyed
-- hashes; the addresses themselves are not kept.
ALTER TABLE scans ADD COLUMN subnet_hash bytea;
ALTER TABLE holds ADD COLUMN address_hash bytea, ADD COLUMN subnet_hash bytea;
CREATE INDEX holds_of_subnet ON holds (subnet_hash, address_hash) WHERE state = 'held';

-- What workers kept on their disks while the database was away: how many records of each file are
-- in the database, so that each is written once.
CREATE TABLE spools (
    spool_id    uuid PRIMARY KEY,
    records     integer NOT NULL DEFAULT 0,
    written_at  timestamptz NOT NULL DEFAULT now()
);
