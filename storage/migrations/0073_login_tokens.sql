-- Each lets another device log in, once and for minutes. Random, so a plain hash is enough.
CREATE TABLE login_tokens (
    hash TEXT PRIMARY KEY,
    -- The device that asked for it: the token ends with it.
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
