-- The event of a room that is closest to a moment.
CREATE INDEX events_times ON events (room_id, origin_server_ts, seq);
