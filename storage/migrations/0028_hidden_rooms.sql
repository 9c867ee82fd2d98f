-- Conversations that people have put out of their sight, and when they did or undid it.
CREATE TABLE hidden_rooms (
    user_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    is_hidden SMALLINT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (user_id, room_id)
);
