-- Previews of links, until they expire. The address itself is not kept.
CREATE TABLE url_previews (
    url_hash TEXT PRIMARY KEY,
    -- NULL: there was nothing to preview.
    json TEXT,
    -- The picture that was stored for it.
    media_id TEXT,
    expires_at BIGINT NOT NULL
);

CREATE INDEX url_previews_expires ON url_previews (expires_at);
