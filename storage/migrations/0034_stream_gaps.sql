-- Positions that were left out when a backup was restored. Tokens that lie there were made in the
-- time that the backup does not know.
CREATE TABLE stream_gaps (
    first_position BIGINT NOT NULL,
    last_position BIGINT NOT NULL
);
