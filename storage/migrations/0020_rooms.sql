-- A room and what never changes about it.
CREATE TABLE rooms (
    room_id TEXT PRIMARY KEY,
    version TEXT NOT NULL,
    -- direct, self, group, family or space; also in the create event, for every client to see.
    kind TEXT NOT NULL,
    -- What there may be only one room of: the pair of a direct room, the owner of a self room.
    -- Taken away when the room has been left by everybody.
    unique_key TEXT UNIQUE,
    -- Whether the room directory lists it.
    is_published SMALLINT NOT NULL DEFAULT 0
);

-- A room is a straight line of events: seq is 1, 2, 3, ... and also the depth.
CREATE TABLE events (
    position BIGINT PRIMARY KEY,
    room_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    event_id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    sender TEXT NOT NULL,
    -- NULL for what is not a state event.
    state_key TEXT,
    origin_server_ts BIGINT NOT NULL,
    -- What clients see, in its final form, without room_id and unsigned.
    json TEXT NOT NULL,
    -- The rest of the signed event.
    envelope TEXT NOT NULL,
    -- Members of "unsigned" that are the same for everybody and for ever, without braces.
    unsigned TEXT NOT NULL,
    -- The device that sent it and the transaction id that it used.
    device_id TEXT,
    txn_id TEXT,
    relates_to TEXT,
    rel_type TEXT,
    -- What the default push rules make of it: 0 nothing, 1 notify, 3 notify and highlight.
    verdict SMALLINT NOT NULL DEFAULT 0,
    UNIQUE (room_id, seq)
);

CREATE INDEX events_state ON events (room_id, type, state_key, seq) WHERE state_key IS NOT NULL;

CREATE INDEX events_memberships ON events (state_key, position) WHERE type = 'm.room.member';

CREATE INDEX events_transactions ON events (txn_id, device_id) WHERE txn_id IS NOT NULL;

-- Where each person stands with each room now.
CREATE TABLE members (
    user_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    membership TEXT NOT NULL,
    event_id TEXT NOT NULL,
    position BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    forgotten SMALLINT NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, room_id)
);

CREATE INDEX members_rooms ON members (room_id);

CREATE TABLE aliases (
    alias TEXT PRIMARY KEY,
    room_id TEXT NOT NULL,
    creator TEXT NOT NULL
);

CREATE INDEX aliases_rooms ON aliases (room_id);
