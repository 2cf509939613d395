-- Who is known to be where: names in rooms that people have been told of. A
-- router that starts must not announce them again. `sum` is XXH3 over both.
CREATE TABLE present (
    id        TEXT    NOT NULL,
    name      TEXT    NOT NULL,
    sum       INTEGER NOT NULL,
    PRIMARY KEY (id, name)
) WITHOUT ROWID;
