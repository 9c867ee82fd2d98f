-- E-mail addresses that people have proved to be theirs. An address belongs to one account.
CREATE TABLE email_addresses (
    -- canonical: schema/email_address.py
    address TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    validated_at BIGINT NOT NULL,
    added_at BIGINT NOT NULL
);

CREATE INDEX email_addresses_by_user ON email_addresses (user_id);

-- Attempts to prove an address. Secrets are random, or the client's; only their SHA-256 is here.
CREATE TABLE email_validations (
    sid TEXT PRIMARY KEY,
    -- register, add or password: what is proved for one is no proof for another
    purpose TEXT NOT NULL,
    address TEXT NOT NULL,
    -- of the client that asked
    client_secret TEXT NOT NULL,
    -- the newest letter's number
    send_attempt BIGINT NOT NULL,
    -- in the newest letter's link
    token TEXT NOT NULL,
    wrong_tokens BIGINT NOT NULL,
    next_link TEXT,
    expires_at BIGINT NOT NULL,
    -- NULL: not yet
    validated_at BIGINT
);

CREATE UNIQUE INDEX email_validations_by_client
    ON email_validations (address, client_secret, purpose);
CREATE INDEX email_validations_by_end ON email_validations (expires_at);
