-- What can be found: each unencrypted message, name and topic. An edit has a row of its own, since
-- not everybody who may see a message may see how it was changed later.
CREATE TABLE search_texts (
    -- Of the event that holds the text.
    position BIGINT PRIMARY KEY,
    room_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    -- Position and number of the message that an edit gives another text; otherwise NULL.
    edit_of BIGINT,
    edit_of_seq BIGINT,
    -- body, name or topic
    key TEXT NOT NULL,
    sender TEXT NOT NULL,
    -- 1: the content has a "url".
    has_url SMALLINT NOT NULL,
    -- How many different words there are.
    length BIGINT NOT NULL
);

CREATE INDEX search_edits ON search_texts (edit_of) WHERE edit_of IS NOT NULL;

-- Up to which position of the stream older events are still to be indexed, newest first. One row.
CREATE TABLE search_backlog (
    position BIGINT NOT NULL
);

INSERT INTO search_backlog (position) SELECT position FROM stream;
