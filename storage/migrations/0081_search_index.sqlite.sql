-- The different words, folded, with spaces between them.
ALTER TABLE search_texts ADD COLUMN words TEXT NOT NULL DEFAULT '';

-- Without the places of words in a text: they would double the size, and nothing asks for them.
-- The words are cut and folded before they come here, so any tokenizer that splits at spaces does.
CREATE VIRTUAL TABLE search_index USING fts5 (
    words, content = 'search_texts', content_rowid = 'position',
    tokenize = 'ascii', detail = none, columnsize = 0
);

-- The index keeps no text of its own, so it must be told what to forget.
CREATE TRIGGER search_texts_added AFTER INSERT ON search_texts BEGIN
    INSERT INTO search_index (rowid, words) VALUES (new.position, new.words); END;

CREATE TRIGGER search_texts_removed AFTER DELETE ON search_texts BEGIN
    INSERT INTO search_index (search_index, rowid, words)
    VALUES ('delete', old.position, old.words); END;
