-- What happened to somebody's devices and cross-signing keys, for themselves to read.
CREATE TABLE identity_log (
    user_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    happened_at BIGINT NOT NULL,
    -- What it was: a type of e2e.identity_log.
    type TEXT NOT NULL,
    -- The device id or the public key.
    subject TEXT NOT NULL,
    -- The name of a device that is new.
    display_name TEXT,
    PRIMARY KEY (user_id, position)
);

-- The master keys that somebody has and had.
CREATE TABLE master_keys (
    user_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    public_key TEXT NOT NULL,
    -- NULL: before this was written down.
    added_at BIGINT,
    -- NULL: it is the present one.
    replaced_at BIGINT,
    PRIMARY KEY (user_id, position)
);

INSERT INTO master_keys (user_id, position, public_key, added_at, replaced_at)
    SELECT user_id, 0, public_key, NULL, NULL FROM cross_signing_keys WHERE usage = 'master';
