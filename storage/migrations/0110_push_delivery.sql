-- A pusher has been told of everything up to position since; pushkey_ts says when it was set, in ms.
ALTER TABLE pushers ADD COLUMN since BIGINT NOT NULL DEFAULT 0;
ALTER TABLE pushers ADD COLUMN pushkey_ts BIGINT NOT NULL DEFAULT 0;

UPDATE pushers SET since = (SELECT position FROM stream);
