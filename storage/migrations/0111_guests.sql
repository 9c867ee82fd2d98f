-- A guest has an account without a password, until it becomes a full one or is closed.
ALTER TABLE accounts ADD COLUMN is_guest SMALLINT NOT NULL DEFAULT 0;

CREATE INDEX accounts_guests ON accounts (created_at) WHERE is_guest = 1;
