-- db: what is asked of PostgreSQL about itself.

-- name: grown_tables(names)
-- Those of these tables and of their partitions that have grown fourfold since they were analyzed, by
-- names that PostgreSQL has quoted. Of a table that is not partitioned there is no tree.
SELECT part.oid::regclass::text AS name
FROM unnest(:names::text[]) AS asked (name)
LEFT JOIN LATERAL pg_partition_tree(asked.name::regclass) AS tree ON true
JOIN pg_class AS part ON part.oid = coalesce(tree.relid, asked.name::regclass)
WHERE part.relkind = 'r'
  AND pg_relation_size(part.oid) > 4 * part.relpages * current_setting('block_size')::bigint
ORDER BY part.oid;
