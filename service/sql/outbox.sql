-- outbox: what is to be told to other systems, written with what it tells of.

-- name: put(rows)!
-- Each event, and a delivery of it for every enabled endpoint that wants it; what nobody wants is
-- not kept.
WITH new AS (
    SELECT * FROM json_to_recordset(:rows::text::json) AS new (
        chain_id uuid, event_id uuid, event text, body text)
), wanted AS (
    SELECT new.chain_id, w.webhook_id, new.event_id
    FROM new JOIN webhooks w ON w.chain_id = new.chain_id AND w.enabled
        AND new.event = ANY(w.events)
), kept AS (
    INSERT INTO outbox (chain_id, event_id, event, body)
    SELECT chain_id, event_id, event, body FROM new
    WHERE (chain_id, event_id) IN (SELECT chain_id, event_id FROM wanted)
)
INSERT INTO deliveries (chain_id, webhook_id, event_id)
SELECT chain_id, webhook_id, event_id FROM wanted;

-- name: wanting(events)
-- The chains in which an endpoint wants to hear of one of these events.
SELECT chain_id FROM chains WHERE webhook_events && :events::text[];
