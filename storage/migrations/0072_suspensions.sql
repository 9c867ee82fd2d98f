-- A suspended account reads on, but takes part in nothing.
ALTER TABLE accounts ADD COLUMN suspended SMALLINT NOT NULL DEFAULT 0;
