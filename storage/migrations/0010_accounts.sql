-- People, bots and bridged users. An account that was closed keeps its row: its name is taken.
CREATE TABLE accounts (
    user_id TEXT PRIMARY KEY,
    -- argon2id; NULL: nobody can log in with a password
    password TEXT,
    is_admin SMALLINT NOT NULL,
    locked SMALLINT NOT NULL,
    created_at BIGINT NOT NULL,
    deactivated_at BIGINT,
    erased SMALLINT NOT NULL
);

-- Who may sign up. Only hashes: what was handed out cannot be read back.
CREATE TABLE registration_tokens (
    hash TEXT PRIMARY KEY,
    -- NULL: any number of times
    uses_allowed BIGINT,
    used BIGINT NOT NULL,
    -- NULL: never
    expires_at BIGINT,
    grants_admin SMALLINT NOT NULL,
    -- 1: the one that the server itself makes for its first administrator
    is_first SMALLINT NOT NULL,
    created_at BIGINT NOT NULL
);
