-- The first schema. A migration is never edited once released: add the next.
-- Every `sum` is XXH3 over the other columns (row.c, ids.c, meta.c), because
-- SQLite does not notice a flipped bit in a row.

-- One row: the store itself.
CREATE TABLE store (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    mark      INTEGER NOT NULL,  -- no seq above it was ever given out
    floor     INTEGER NOT NULL,  -- highest offset of any id forgotten
    device    INTEGER NOT NULL,  -- of the file that this row was written to
    inode     INTEGER NOT NULL,
    boot      TEXT    NOT NULL,  -- the boot it was last opened in
    life      INTEGER NOT NULL,  -- drawn at each open and close, see guard.h
    clean     INTEGER NOT NULL,  -- 1: closed properly
    backup    INTEGER NOT NULL,  -- 1: made by a backup, never written since
    sum       INTEGER NOT NULL
);

-- The names this history has had. A message belongs to the last one made
-- before it: the largest n with since_seq < seq.
CREATE TABLE epochs (
    n         INTEGER PRIMARY KEY,
    name      TEXT    NOT NULL,
    since_seq INTEGER NOT NULL,
    made_ms   INTEGER NOT NULL,
    reason    TEXT    NOT NULL
);

-- Ids that have history, or had it lately.
CREATE TABLE ids (
    idn            INTEGER PRIMARY KEY,
    id             TEXT    NOT NULL UNIQUE,
    last_offset    INTEGER NOT NULL,
    last_seq       INTEGER NOT NULL,
    trimmed_offset INTEGER NOT NULL,
    trimmed_seq    INTEGER NOT NULL,
    count          INTEGER NOT NULL,
    bytes          INTEGER NOT NULL,
    oldest_ms      INTEGER NOT NULL, -- ts of the oldest message; or emptied
    due_ms         INTEGER,          -- when to look at it again; NULL: never
    sum            INTEGER NOT NULL
);
CREATE INDEX ids_due ON ids (due_ms) WHERE due_ms IS NOT NULL;

-- All messages in one log; the key is the order in which they were said.
CREATE TABLE log (
    seq       INTEGER PRIMARY KEY,
    idn       INTEGER NOT NULL,
    offset    INTEGER NOT NULL,
    ts_ms     INTEGER NOT NULL,
    size      INTEGER NOT NULL,  -- bytes of sender, kind, key and data
    format    INTEGER NOT NULL,
    flags     INTEGER NOT NULL,
    keyed     INTEGER NOT NULL,  -- 1: there is a row for it in keys
    session   INTEGER,           -- name of the publication
    number    INTEGER,
    sum       INTEGER NOT NULL,
    sender    BLOB,
    kind      BLOB,
    key       BLOB,
    data      BLOB
);
-- Entries end with the rowid, so this is (idn, seq).
CREATE INDEX log_by_id ON log (idn);

-- One record per id for whoever folds its log into a state.
CREATE TABLE states (
    idn       INTEGER PRIMARY KEY,
    offset    INTEGER NOT NULL,
    state     BLOB    NOT NULL,
    sum       INTEGER NOT NULL
);

-- Idempotency keys with the first answer.
CREATE TABLE keys (
    id        TEXT    NOT NULL,
    key       TEXT    NOT NULL,
    seq       INTEGER NOT NULL,
    offset    INTEGER NOT NULL,
    ts_ms     INTEGER NOT NULL,
    body_hash INTEGER NOT NULL,
    due_ms    INTEGER,           -- when it may go; NULL: with its message
    PRIMARY KEY (id, key)
) WITHOUT ROWID;
CREATE INDEX keys_by_seq ON keys (seq);
CREATE INDEX keys_due ON keys (due_ms) WHERE due_ms IS NOT NULL;
