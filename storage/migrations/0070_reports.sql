-- What people report to the organizer: an event, a room or somebody.
CREATE TABLE reports (
    report_id BIGINT PRIMARY KEY,
    reporter TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    -- NULL in a report of a person.
    room_id TEXT,
    -- NULL in a report of a room or a person.
    event_id TEXT,
    -- The person, or the sender of the event. NULL in a report of a room.
    user_id TEXT,
    reason TEXT NOT NULL
);

CREATE INDEX reports_reporters ON reports (reporter, report_id);
