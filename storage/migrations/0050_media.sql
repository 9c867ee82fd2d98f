-- What people have uploaded, or announced that they will upload. The bytes are files on disk.
CREATE TABLE media (
    media_id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- Until when an announced upload may come. NULL once it is there.
    expires_at BIGINT,
    -- The name of the file on disk, told to nobody. NULL as long as nothing was uploaded.
    file_id TEXT,
    size BIGINT,
    content_type TEXT,
    file_name TEXT
);

CREATE INDEX media_pending ON media (user_id) WHERE file_id IS NULL;
