-- news: what workers tell each other, beside what `bump` tells of the catalog (directory.sql).

-- name: tell_room(parts)!
-- Which codes have become full or have room again; each part is one notice of under 8000 bytes.
SELECT pg_notify('nearcode_room', part) FROM unnest(:parts::text[]) AS part;

-- name: alive()$
SELECT 1;
