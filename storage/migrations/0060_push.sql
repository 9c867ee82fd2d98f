-- What people changed about their push rules; no row for whoever changed nothing.
CREATE TABLE push_rules (
    user_id TEXT PRIMARY KEY,
    rules TEXT NOT NULL,
    position BIGINT NOT NULL
);

-- A variant is what somebody's rules come to in one room. Most people share a few.
CREATE TABLE push_variants (
    variant BIGINT PRIMARY KEY,
    rules TEXT NOT NULL
);

-- Which variant judges the events of a room for a person: those with since < position <= until.
-- No row: the default rules.
CREATE TABLE push_spans (
    user_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    variant BIGINT NOT NULL,
    PRIMARY KEY (user_id, room_id, since)
);

CREATE INDEX push_spans_variants ON push_spans (variant, until);

-- From where on a room is unread for a person, besides their receipts. thread_id is empty for where
-- they joined; otherwise it says up to where they have read a thread by writing in it.
CREATE TABLE push_places (
    user_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    PRIMARY KEY (user_id, room_id, thread_id)
);

-- What an event means to everybody with a variant, where that is not events.verdict (usual).
-- Variant 0 is everybody: an event that belongs to a thread indirectly moves from "main" to there.
CREATE TABLE push_differences (
    room_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    variant BIGINT NOT NULL,
    thread_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    verdict SMALLINT NOT NULL,
    usual SMALLINT NOT NULL,
    PRIMARY KEY (room_id, seq, variant, thread_id)
);

-- What an event means to one person, where that is not what it means to their variant (usual).
CREATE TABLE push_personal (
    user_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    thread_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    verdict SMALLINT NOT NULL,
    usual SMALLINT NOT NULL,
    PRIMARY KEY (user_id, room_id, seq)
);

CREATE INDEX push_personal_events ON push_personal (room_id, seq);

-- All that counting needs, so that it never reads the events themselves.
CREATE INDEX events_notifying ON events (room_id, seq, position, verdict, rel_type, relates_to)
    WHERE verdict > 0;

-- Where a device wants to be notified. The key and the address are secrets: sealed, and found by
-- their fingerprint.
CREATE TABLE pushers (
    user_id TEXT NOT NULL,
    app_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    device_id TEXT NOT NULL,
    sealed TEXT NOT NULL,
    PRIMARY KEY (user_id, app_id, fingerprint)
);

CREATE INDEX pushers_keys ON pushers (fingerprint);
