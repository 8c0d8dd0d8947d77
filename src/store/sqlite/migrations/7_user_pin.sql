-- Users' PINs, as Argon2id hashes. They are in no log, no export and no state in memory.

CREATE TABLE user_pin (
    organization_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    hash TEXT NOT NULL,
    etag INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    locked_until_ms INTEGER,
    PRIMARY KEY (organization_id, user_id),
    FOREIGN KEY (organization_id, user_id) REFERENCES user ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
