-- How many the first publication reached: a repeat is given the same answer.
ALTER TABLE keys ADD COLUMN reached INTEGER NOT NULL DEFAULT 0;
