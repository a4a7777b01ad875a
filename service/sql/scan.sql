-- scan: one opening of an entry.

-- name: insert_scan(chain_id, scan_id, entry, placement, unknown_placement, visitor_id, scanned_at, via, bot, browser, language, address_hash)!
INSERT INTO scans (chain_id, scan_id, entry, placement, unknown_placement, visitor_id, scanned_at,
                   via, bot, browser, language, address_hash)
VALUES (:chain_id, :scan_id, :entry, :placement, :unknown_placement, :visitor_id, :scanned_at,
        :via, :bot, :browser, :language, :address_hash);

-- name: get_scan(scan_id)^
-- A scan's id is all that a page or an app knows of it.
SELECT chain_id, scan_id, entry, placement, visitor_id, bot FROM scans WHERE scan_id = :scan_id;

-- name: lock_visitor(chain_id, visitor_id, entry)^
-- Makes the visitor known and locks the row until the commit: their requests take turns, so that
-- two first scans at once cannot both take a seat.
INSERT INTO visitors AS v (chain_id, visitor_id, entry)
VALUES (:chain_id, :visitor_id, :entry)
ON CONFLICT (chain_id, visitor_id, entry) DO UPDATE SET entry = excluded.entry
RETURNING v.*;

-- name: get_visitor(chain_id, visitor_id, entry)^
SELECT * FROM visitors
WHERE chain_id = :chain_id AND visitor_id = :visitor_id AND entry = :entry;

-- name: insert_fix(chain_id, fix_id, scan_id, source, datum, lon, lat, accuracy_m, province, city, district, fixed_at)!
INSERT INTO fixes (chain_id, fix_id, scan_id, source, datum, lon, lat, accuracy_m, province, city,
                   district, fixed_at)
VALUES (:chain_id, :fix_id, :scan_id, :source, :datum, :lon, :lat, :accuracy_m, :province, :city,
        :district, :fixed_at);

-- name: stand(chain_id, visitor_id, entry, lon, lat, accuracy_m, source)!
-- Where the visitor stands while they are being served.
UPDATE visitors
SET lon = :lon, lat = :lat, accuracy_m = :accuracy_m, source = :source, located_at = now()
WHERE chain_id = :chain_id AND visitor_id = :visitor_id AND entry = :entry;

-- name: forget_positions(minutes)!
UPDATE visitors
SET lon = NULL, lat = NULL, accuracy_m = NULL, source = NULL, located_at = NULL
WHERE located_at < now() - make_interval(secs => :minutes::float8 * 60);

-- name: insert_complaint(chain_id, complaint_id, scan_id, visitor_id, code_id, store, kind, said_at)!
INSERT INTO complaints (chain_id, complaint_id, scan_id, visitor_id, code_id, store, kind, said_at)
VALUES (:chain_id, :complaint_id, :scan_id, :visitor_id, :code_id, :store, :kind, :said_at);

-- name: complained_of(chain_id, visitor_id)
-- The codes that this visitor called full, expired or broken within a day.
SELECT DISTINCT code_id FROM complaints
WHERE chain_id = :chain_id AND visitor_id = :visitor_id AND kind <> 'denied'
  AND code_id IS NOT NULL
  AND complaint_id >= uuid7_floor(now() - interval '1 day');
