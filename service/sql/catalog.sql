-- catalog: stores, codes, entries and placements as HQ and managers edit them. Every change raises
-- the chain's version (directory.sql: bump) and carries it, so that workers see it.

-- name: stores_by_number(chain_id, stores)
SELECT * FROM stores WHERE chain_id = :chain_id AND store = ANY(:stores);

-- name: upsert_stores(chain_id, version, stores, names, brands, addresses, provinces, cities, districts, lons, lats, datums, given_lons, given_lats, tags, service_areas, statuses)!
-- Many at once; arrays of equal length. Tags are comma-free texts joined by newlines.
INSERT INTO stores (chain_id, store, name, brand, address, province, city, district, lon, lat,
                    datum, given_lon, given_lat, tags, service_area, status, version)
SELECT :chain_id, store, name, brand, address, province, city, district, lon, lat, datum,
       given_lon, given_lat, coalesce(string_to_array(nullif(tags, ''), E'\n'), '{}'),
       service_area::jsonb, status, :version
FROM unnest(:stores::text[], :names::text[], :brands::text[], :addresses::text[],
            :provinces::text[], :cities::text[], :districts::text[], :lons::float8[],
            :lats::float8[], :datums::text[], :given_lons::float8[], :given_lats::float8[],
            :tags::text[], :service_areas::text[], :statuses::text[])
  AS t (store, name, brand, address, province, city, district, lon, lat, datum, given_lon,
        given_lat, tags, service_area, status)
ON CONFLICT (chain_id, store) DO UPDATE SET
    name = excluded.name, brand = excluded.brand, address = excluded.address,
    province = excluded.province, city = excluded.city, district = excluded.district,
    lon = excluded.lon, lat = excluded.lat, datum = excluded.datum,
    given_lon = excluded.given_lon, given_lat = excluded.given_lat, tags = excluded.tags,
    service_area = excluded.service_area, status = excluded.status,
    version = excluded.version, updated_at = now();

-- name: list_stores(chain_id, scope, city, q, after, most)
-- By store number. `scope`: the stores that may be seen, null for all.
SELECT * FROM stores
WHERE chain_id = :chain_id AND status <> 'deleted'
  AND (:scope::text[] IS NULL OR store = ANY(:scope))
  AND (:city::text IS NULL OR city = :city)
  AND (:q::text IS NULL OR strpos(lower(concat_ws(' ', store, name, address)), lower(:q)) > 0)
  AND (:after::text IS NULL OR store > :after)
ORDER BY store LIMIT :most;

-- name: delete_store(chain_id, store, version)$
UPDATE stores SET status = 'deleted', version = :version, updated_at = now()
WHERE chain_id = :chain_id AND store = :store AND status <> 'deleted'
RETURNING name;

-- name: retire_codes_of(chain_id, store, version)
UPDATE codes SET status = 'retired', version = :version, revision = revision + 1,
    updated_at = now()
WHERE chain_id = :chain_id AND store = :store AND status <> 'retired'
RETURNING code_id;

-- name: codes_by_payload(chain_id, payloads)
SELECT * FROM codes
WHERE chain_id = :chain_id AND payload = ANY(:payloads) AND status <> 'retired';

-- name: next_positions(chain_id, stores)
-- For each store, the place after its last code.
SELECT store, max(position) + 1 AS position FROM codes
WHERE chain_id = :chain_id AND store = ANY(:stores) AND status <> 'retired' GROUP BY store;

-- name: insert_codes(chain_id, version, code_ids, stores, kinds, payloads, labels, capacities, members, counted_bys, statuses, expires_ats, positions)!
INSERT INTO codes (chain_id, code_id, store, kind, payload, label, capacity, members, counted_by,
                   status, expires_at, position, version)
SELECT :chain_id, code_id, store, kind, payload, label, capacity, members, counted_by, status,
       expires_at, position, :version
FROM unnest(:code_ids::uuid[], :stores::text[], :kinds::text[], :payloads::text[],
            :labels::text[], :capacities::int[], :members::int[], :counted_bys::text[],
            :statuses::text[], :expires_ats::timestamptz[], :positions::int[])
  AS t (code_id, store, kind, payload, label, capacity, members, counted_by, status, expires_at,
        position);

-- name: lock_code(chain_id, code_id)^
SELECT * FROM codes WHERE chain_id = :chain_id AND code_id = :code_id FOR UPDATE;

-- name: codes_of_store(chain_id, store)
SELECT codes.*, (SELECT stores.status FROM stores WHERE stores.chain_id = codes.chain_id
                 AND stores.store = codes.store) AS store_status,
       EXISTS (SELECT FROM code_pictures p WHERE p.chain_id = codes.chain_id
               AND p.code_id = codes.code_id) AS has_picture
FROM codes
WHERE chain_id = :chain_id AND store = :store AND status <> 'retired'
ORDER BY position, code_id;

-- name: get_code(chain_id, code_id)^
SELECT codes.*, (SELECT stores.status FROM stores WHERE stores.chain_id = codes.chain_id
                 AND stores.store = codes.store) AS store_status,
       EXISTS (SELECT FROM code_pictures p WHERE p.chain_id = codes.chain_id
               AND p.code_id = codes.code_id) AS has_picture
FROM codes WHERE chain_id = :chain_id AND code_id = :code_id;

-- name: update_code(chain_id, code_id, capacity, members, held, counted_by, status, expires_at, position, label, kind, payload, trusted, version)^
UPDATE codes SET capacity = :capacity, members = :members, held = :held,
    counted_by = :counted_by, status = :status, expires_at = :expires_at, position = :position,
    label = :label, kind = :kind, payload = :payload, version = :version,
    flagged_at = CASE WHEN :trusted THEN NULL ELSE flagged_at END,
    trusted_since = CASE WHEN :trusted THEN now() ELSE trusted_since END,
    revision = revision + 1, updated_at = now()
WHERE chain_id = :chain_id AND code_id = :code_id
RETURNING codes.*, (SELECT stores.status FROM stores WHERE stores.chain_id = codes.chain_id
                    AND stores.store = codes.store) AS store_status,
          EXISTS (SELECT FROM code_pictures p WHERE p.chain_id = codes.chain_id
                  AND p.code_id = codes.code_id) AS has_picture;

-- name: note_former(chain_id, code_id, payload)!
-- What the code's place led to until now.
INSERT INTO former_payloads (chain_id, code_id, payload) VALUES (:chain_id, :code_id, :payload)
ON CONFLICT (chain_id, payload, code_id) DO UPDATE SET replaced_at = now();

-- name: last_uses(chain_id, payloads)
-- Where these payloads were up before, and until when: of several places the last.
SELECT DISTINCT ON (payload) payload, store, until_at FROM (
    SELECT payload, store, updated_at AS until_at FROM codes
    WHERE chain_id = :chain_id AND payload = ANY(:payloads) AND status = 'retired'
    UNION ALL
    SELECT f.payload, codes.store, replaced_at
    FROM former_payloads f JOIN codes USING (chain_id, code_id)
    WHERE f.chain_id = :chain_id AND f.payload = ANY(:payloads)
) uses ORDER BY payload, until_at DESC;

-- name: count_reporters(chain_id, code_id, minutes)$
-- How many different visitors have said of late that this code does not work.
SELECT count(DISTINCT c.visitor_id)
FROM codes JOIN complaints c USING (chain_id, code_id)
WHERE chain_id = :chain_id AND code_id = :code_id AND codes.status = 'active'
  AND c.complaint_id >= uuid7_floor(now() - make_interval(secs => :minutes::float8 * 60))
  AND c.said_at >= codes.trusted_since;

-- name: flag_code(chain_id, code_id, version)^
UPDATE codes SET status = 'paused', flagged_at = now(), version = :version,
    revision = revision + 1, updated_at = now()
WHERE chain_id = :chain_id AND code_id = :code_id AND status = 'active'
RETURNING code_id, store;

-- name: insert_entry(chain_id, entry, name, radius_m, brands, ip_policy, fallback, version)$
-- Nothing if the entry's name is taken, by any chain.
INSERT INTO entries (chain_id, entry, name, radius_m, brands, ip_policy, fallback, version)
VALUES (:chain_id, :entry, :name, :radius_m, :brands, :ip_policy, :fallback, :version)
ON CONFLICT DO NOTHING
RETURNING entry;

-- name: get_entry(chain_id, entry)^
SELECT * FROM entries WHERE chain_id = :chain_id AND entry = :entry;

-- name: list_entries(chain_id, after, most)
SELECT * FROM entries
WHERE chain_id = :chain_id AND (:after::text IS NULL OR entry > :after)
ORDER BY entry LIMIT :most;

-- name: update_entry(chain_id, entry, name, radius_m, brands, ip_policy, fallback, version)!
UPDATE entries SET name = :name, radius_m = :radius_m, brands = :brands,
    ip_policy = :ip_policy, fallback = :fallback, version = :version, updated_at = now()
WHERE chain_id = :chain_id AND entry = :entry;

-- name: get_placement(chain_id, entry, placement)^
SELECT * FROM placements
WHERE chain_id = :chain_id AND entry = :entry AND placement = :placement;

-- name: lock_placement(chain_id, entry, placement)^
SELECT * FROM placements
WHERE chain_id = :chain_id AND entry = :entry AND placement = :placement FOR UPDATE;

-- name: upsert_placement(chain_id, entry, placement, name, channel, store, printed, cost, variant, version)^
INSERT INTO placements (chain_id, entry, placement, name, channel, store, printed, cost, variant,
                        version)
VALUES (:chain_id, :entry, :placement, :name, :channel, :store, :printed, :cost, :variant, :version)
ON CONFLICT (chain_id, entry, placement) DO UPDATE SET
    name = excluded.name, channel = excluded.channel, store = excluded.store,
    printed = excluded.printed, cost = excluded.cost, variant = excluded.variant,
    version = excluded.version, updated_at = now()
RETURNING *, xmax = 0 AS created;

-- name: list_placements(chain_id, entry, after, most)
SELECT * FROM placements
WHERE chain_id = :chain_id AND entry = :entry AND (:after::text IS NULL OR placement > :after)
ORDER BY placement LIMIT :most;

-- name: placements_by_name(chain_id, entry, placements)
SELECT * FROM placements
WHERE chain_id = :chain_id AND entry = :entry AND placement = ANY(:placements::text[]);

-- name: upsert_placements(chain_id, entry, version, placements, names, channels, stores, printeds, costs, variants)!
-- Many at once; arrays of equal length.
INSERT INTO placements (chain_id, entry, placement, name, channel, store, printed, cost, variant,
                        version)
SELECT :chain_id, :entry, placement, name, channel, store, printed, cost, variant, :version
FROM unnest(:placements::text[], :names::text[], :channels::text[], :stores::text[],
            :printeds::int[], :costs::numeric[], :variants::text[])
  AS t (placement, name, channel, store, printed, cost, variant)
ON CONFLICT (chain_id, entry, placement) DO UPDATE SET
    name = excluded.name, channel = excluded.channel, store = excluded.store,
    printed = excluded.printed, cost = excluded.cost, variant = excluded.variant,
    version = excluded.version, updated_at = now();
