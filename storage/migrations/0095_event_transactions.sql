-- With two columns SQLite preferred an index that begins with the room, and looked through all of
-- its events for every message that was sent.
DROP INDEX events_transactions;

CREATE INDEX events_transactions ON events (txn_id, device_id, room_id, type)
    WHERE txn_id IS NOT NULL;
