-- A chunk that is made anew is another one: whoever has kept what it held knows by the revision
-- whether that is what it holds (service/chunks.py).
ALTER TABLE report_chunks ADD COLUMN revision uuid NOT NULL DEFAULT gen_random_uuid();

-- The chunk of a range of ids, made of the facts, under the revision that it is given.
DROP FUNCTION packed_facts;
CREATE FUNCTION packed_facts(chain uuid, first_id uuid, last_id uuid, revision uuid)
RETURNS SETOF report_chunks
LANGUAGE sql STABLE AS $$
    SELECT chain, first_id, last_id, count(*)::int, min(f.scanned_at), max(f.scanned_at),
        coalesce(string_agg(int8send(f.at), ''), ''),
        coalesce(string_agg(int4send(f.visitor), ''), ''),
        coalesce(string_agg(int4send(f.placement), ''), ''),
        coalesce(string_agg(int4send(f.store), ''), ''),
        coalesce(string_agg(int4send(f.place), ''), ''),
        coalesce(string_agg(int2send(f.stages), ''), ''),
        coalesce(string_agg(int8send(f.at), '') FILTER (WHERE f.lost > 0), ''),
        coalesce(string_agg(int2send(f.lost), '') FILTER (WHERE f.lost > 0), ''),
        coalesce(string_agg(int4send(f.lost_place), '') FILTER (WHERE f.lost > 0), ''),
        coalesce(string_agg(int4send(coalesce(f.lost_lon, 2147483647)), '')
                 FILTER (WHERE f.lost > 0), ''),
        coalesce(string_agg(int4send(coalesce(f.lost_lat, 2147483647)), '')
                 FILTER (WHERE f.lost > 0), ''),
        coalesce(string_agg(int4send(f.row), '') FILTER (WHERE f.orders > 0 OR f.cents <> 0), ''),
        coalesce(string_agg(int4send(f.orders), '')
                 FILTER (WHERE f.orders > 0 OR f.cents <> 0), ''),
        coalesce(string_agg(int8send(f.cents), '')
                 FILTER (WHERE f.orders > 0 OR f.cents <> 0), ''),
        packed_facts.revision
    FROM (
        SELECT *, (extract(epoch FROM scanned_at) * 1000000)::bigint AS at,
            (row_number() OVER (ORDER BY scan_id) - 1)::int AS row
        FROM scan_facts
        WHERE chain_id = chain AND scan_id >= packed_facts.first_id
          AND scan_id < packed_facts.last_id
        ORDER BY scan_id
    ) AS f
$$;
