-- Two columns say enough; the room alone was a third of the index. The statement keeps SQLite from
-- preferring an index that begins with the room.
DROP INDEX events_transactions;

CREATE INDEX events_transactions ON events (txn_id, device_id) WHERE txn_id IS NOT NULL;
