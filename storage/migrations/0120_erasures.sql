-- When what somebody has sent was erased, as a position of the stream; NULL: never.
ALTER TABLE accounts ADD COLUMN erased_at BIGINT;

-- Who asked for it before left their rooms at that moment.
UPDATE accounts SET erased_at = COALESCE(
    (SELECT MAX(m.position) FROM members m WHERE m.user_id = accounts.user_id),
    (SELECT position FROM stream)
) WHERE erased = 1;
