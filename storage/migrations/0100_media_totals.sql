-- How many bytes are stored for whom: a person, or '*' for everybody together.
CREATE TABLE media_totals (
    owner TEXT PRIMARY KEY,
    bytes BIGINT NOT NULL
);

-- The same rule as homeserver/media/quotas.py: the smallest file counts as one block of the disk.
INSERT INTO media_totals (owner, bytes)
SELECT user_id, SUM(CASE WHEN size < 4096 THEN 4096 ELSE size END)
FROM media WHERE file_id IS NOT NULL GROUP BY user_id;

INSERT INTO media_totals (owner, bytes) SELECT '*', COALESCE(SUM(bytes), 0) FROM media_totals;
