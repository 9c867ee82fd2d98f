-- The public identity keys of devices: signed JSON as uploaded, with the device's own signature.
CREATE TABLE device_keys (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (user_id, device_id)
);

-- One-time keys. A row outlives its key: an id that was issued is remembered, so that the same key
-- is never handed out again, whoever uploads it once more.
CREATE TABLE one_time_keys (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    key_id TEXT NOT NULL,
    -- Of the upload; the oldest is issued first.
    position BIGINT NOT NULL,
    -- 1: handed out, pushed out by newer keys, or withdrawn after a restore.
    issued SMALLINT NOT NULL DEFAULT 0,
    json TEXT NOT NULL,
    PRIMARY KEY (user_id, device_id, algorithm, key_id)
);

CREATE INDEX one_time_keys_next ON one_time_keys
    (user_id, device_id, algorithm, position, key_id) WHERE issued = 0;

-- What is handed out when no one-time key is left.
CREATE TABLE fallback_keys (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    key_id TEXT NOT NULL,
    used SMALLINT NOT NULL DEFAULT 0,
    json TEXT NOT NULL,
    PRIMARY KEY (user_id, device_id, algorithm)
);

CREATE TABLE cross_signing_keys (
    user_id TEXT NOT NULL,
    -- master, self_signing or user_signing.
    usage TEXT NOT NULL,
    public_key TEXT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (user_id, usage)
);

-- Signatures that were made after the upload of what they sign. All of them have been verified.
CREATE TABLE key_signatures (
    -- Whose key is signed: a device id, or a public cross-signing key.
    user_id TEXT NOT NULL,
    target TEXT NOT NULL,
    signer TEXT NOT NULL,
    -- The signing key, as ed25519:<device id or public key>.
    key_id TEXT NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (user_id, target, signer, key_id)
);

CREATE INDEX key_signatures_signers ON key_signatures (signer, key_id);

-- When each person's devices or cross-signing keys changed last.
CREATE TABLE device_list_changes (
    user_id TEXT NOT NULL,
    -- Empty: everyone who shares a room sees it. Else only this person does: their own signature.
    seen_by TEXT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (user_id, seen_by)
);

-- To-device messages that their device has not acknowledged.
CREATE TABLE to_device_messages (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (user_id, device_id, position)
);

-- Requests to send to devices that have been carried out.
CREATE TABLE to_device_transactions (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    txn_id TEXT NOT NULL,
    sent_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, device_id, event_type, txn_id)
);

CREATE INDEX to_device_transactions_age ON to_device_transactions (sent_at);

-- Key backups. A deleted one leaves its row, so that its number is not given out again.
CREATE TABLE key_backup_versions (
    user_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    algorithm TEXT NOT NULL,
    auth_data TEXT NOT NULL,
    -- Grows with every change of the stored sessions.
    etag BIGINT NOT NULL DEFAULT 0,
    session_count BIGINT NOT NULL DEFAULT 0,
    deleted SMALLINT NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, version)
);

CREATE TABLE key_backup_sessions (
    user_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    room_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    is_verified SMALLINT NOT NULL,
    first_message_index BIGINT NOT NULL,
    forwarded_count BIGINT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (user_id, version, session_id, room_id)
);
