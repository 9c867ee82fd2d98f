-- Whether the file on disk is sealed with the key of the media folder.
ALTER TABLE media ADD COLUMN sealed SMALLINT NOT NULL DEFAULT 0;
