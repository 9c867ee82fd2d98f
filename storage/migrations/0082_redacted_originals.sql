-- What redacted events said, for as long as the configuration wants to keep it.
CREATE TABLE redacted_originals (
    -- Of the event, not of its redaction.
    position BIGINT PRIMARY KEY,
    json TEXT NOT NULL,
    redacted_at BIGINT NOT NULL
);

CREATE INDEX redacted_originals_age ON redacted_originals (redacted_at);
