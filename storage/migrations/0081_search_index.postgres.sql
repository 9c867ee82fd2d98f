-- The different words, folded: cut before they come here, so no text search configuration matters.
ALTER TABLE search_texts ADD COLUMN words TSVECTOR NOT NULL;

-- Each row goes into the index at once. Piled up for later, as is the default, rows would slow down
-- every search, and hold up whoever sends the message that makes the pile too high.
CREATE INDEX search_index ON search_texts USING gin (words) WITH (fastupdate = off);
