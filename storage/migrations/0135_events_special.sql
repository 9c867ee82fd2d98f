-- What an event counts for besides one notification in the main timeline: it highlights, or it is in
-- a thread. There are few, so nobody's unread counts need to look at the others one by one.
CREATE INDEX events_special ON events (room_id, seq, position, verdict, rel_type, relates_to)
    WHERE verdict > 1 OR rel_type = 'm.thread';
