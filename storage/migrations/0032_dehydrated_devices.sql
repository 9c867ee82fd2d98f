-- What a dehydrated device consists of, sealed by its owner's client; NULL: an ordinary device.
ALTER TABLE devices ADD COLUMN dehydrated TEXT;

CREATE UNIQUE INDEX devices_dehydrated ON devices (user_id) WHERE dehydrated IS NOT NULL;
