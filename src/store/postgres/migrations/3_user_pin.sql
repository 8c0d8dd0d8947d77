-- Users' PINs, as Argon2id hashes. They are in no log, no export and no state in memory.

CREATE TABLE user_pin (
    organization_id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    hash TEXT NOT NULL,
    etag BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    locked_until_ms BIGINT,
    PRIMARY KEY (organization_id, user_id),
    FOREIGN KEY (organization_id, user_id) REFERENCES "user" ON DELETE CASCADE
);
