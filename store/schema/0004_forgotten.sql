-- Up to which seq an id that is forgotten may have had messages: an id without a
-- row in `ids` may be one of them, and an older cursor may have missed some.
-- A store that has none (0) sums this row as before.
ALTER TABLE store ADD COLUMN forgotten_seq INTEGER NOT NULL DEFAULT 0;
