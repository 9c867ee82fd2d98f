-- Keys are numbered, so what has been handed out is one number for each device and algorithm: many
-- of these lie on one page of the database, where each key would be on a page of its own.
CREATE TABLE one_time_key_queues (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    -- The number of the key that was uploaded last.
    added BIGINT NOT NULL,
    -- Up to this number, keys have been handed out, pushed out by newer ones, or withdrawn after a
    -- restore.
    issued BIGINT NOT NULL,
    PRIMARY KEY (user_id, device_id, algorithm)
);

INSERT INTO one_time_key_queues (user_id, device_id, algorithm, added, issued)
    SELECT user_id, device_id, algorithm, COUNT(*), SUM(issued) FROM one_time_keys
    GROUP BY user_id, device_id, algorithm;

DROP INDEX one_time_keys_next;

ALTER TABLE one_time_keys RENAME TO unnumbered_keys;

-- A row outlives its key: an id that was issued is remembered, so that the same key is never handed
-- out again, whoever uploads it once more.
CREATE TABLE one_time_keys (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    key_id TEXT NOT NULL,
    -- 1, 2, 3, … of the device and the algorithm, in the order of uploads and of handing out.
    number BIGINT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (user_id, device_id, algorithm, key_id)
);

-- Those that were handed out come first, whatever else: none of them must come again.
INSERT INTO one_time_keys (user_id, device_id, algorithm, key_id, number, json)
    SELECT user_id, device_id, algorithm, key_id, ROW_NUMBER() OVER (
        PARTITION BY user_id, device_id, algorithm ORDER BY issued DESC, position, key_id
    ), json FROM unnumbered_keys;

DROP TABLE unnumbered_keys;

CREATE UNIQUE INDEX one_time_keys_numbers ON one_time_keys (user_id, device_id, algorithm, number);
