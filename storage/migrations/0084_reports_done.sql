-- When the organizer was done with a report; NULL while it waits for them.
ALTER TABLE reports ADD COLUMN done_at BIGINT;
