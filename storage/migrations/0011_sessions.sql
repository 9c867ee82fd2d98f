CREATE TABLE devices (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    display_name TEXT,
    last_seen_at BIGINT NOT NULL,
    last_seen_address TEXT NOT NULL,
    -- The newest generation of tokens that its client has been seen to have.
    generation BIGINT NOT NULL,
    PRIMARY KEY (user_id, device_id)
);

-- Tokens are 256 random bits, so their SHA-256 needs neither salt nor stretching.
CREATE TABLE access_tokens (
    hash TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    generation BIGINT NOT NULL,
    -- NULL: never
    expires_at BIGINT
);

CREATE INDEX access_tokens_by_device ON access_tokens (user_id, device_id);

-- Each refresh makes the next generation. Some older ones stay, to notice when one is used again.
CREATE TABLE refresh_tokens (
    hash TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    generation BIGINT NOT NULL
);

CREATE INDEX refresh_tokens_by_device ON refresh_tokens (user_id, device_id);
