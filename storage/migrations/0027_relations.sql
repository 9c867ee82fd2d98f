-- The threads of a room with their newest messages, without touching an event.
CREATE INDEX events_threads ON events (room_id, relates_to, seq, sender)
    WHERE rel_type = 'm.thread';

CREATE INDEX events_children ON events (relates_to, room_id, rel_type, seq, sender)
    WHERE relates_to IS NOT NULL;
