-- How far each application service has got. Its queue is the stream itself.
CREATE TABLE bridges (
    service_id TEXT PRIMARY KEY,
    -- Everything up to here has been acknowledged, or is no concern of the service.
    position BIGINT NOT NULL,
    -- The transaction that it has not acknowledged yet, to be repeated to the letter; NULL: none.
    txn_id TEXT,
    body TEXT,
    -- How far the service has got once it has acknowledged it.
    upto BIGINT,
    -- The last message in it of each device's queue, as JSON: [[user id, device id, position], ...].
    to_device TEXT,
    created_at BIGINT
);

-- Services hear of the receipts that have moved since their last transaction.
CREATE INDEX receipts_positions ON receipts (position);
