-- Rooms in the directories that services keep of their networks.
CREATE TABLE bridge_directories (
    service_id TEXT NOT NULL,
    network_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    PRIMARY KEY (service_id, network_id, room_id)
);
