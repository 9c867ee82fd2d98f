-- Which events name an uploaded file where the server can read it. own: its uploader shows it there.
CREATE TABLE media_uses (
    media_id TEXT NOT NULL,
    -- Of the event. 0: it was uploaded before uses were noted, so nobody knows all of them.
    position BIGINT NOT NULL,
    own SMALLINT NOT NULL,
    PRIMARY KEY (media_id, position)
);

CREATE INDEX media_uses_position ON media_uses (position);

INSERT INTO media_uses (media_id, position, own) SELECT media_id, 0, 0 FROM media;

-- When an event in which its uploader showed it was redacted.
ALTER TABLE media ADD COLUMN taken_back_at BIGINT;

CREATE INDEX media_taken_back ON media (taken_back_at) WHERE taken_back_at IS NOT NULL;

CREATE UNIQUE INDEX media_file ON media (file_id) WHERE file_id IS NOT NULL;
