-- What people show of themselves: displayname, avatar_url, and fields of their own.
CREATE TABLE profiles (
    user_id TEXT NOT NULL,
    field TEXT NOT NULL,
    -- The value as JSON.
    json TEXT NOT NULL,
    PRIMARY KEY (user_id, field)
);
