-- The one sequence that everything durable on /sync gets its position from. One row.
CREATE TABLE stream (
    position BIGINT NOT NULL
);

INSERT INTO stream (position) VALUES (0);
