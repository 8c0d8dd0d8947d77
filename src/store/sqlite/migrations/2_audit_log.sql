-- The audit log takes the place of the change log: every change and every refusal, chained by hashes. It begins here:
-- the change log says neither who asked nor what was before, and is dropped. The state is untouched.

CREATE TABLE audit_log (
    revision INTEGER PRIMARY KEY,        -- dense over all organizations, but for what was cut
    organization_id TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    action TEXT NOT NULL,                -- such as SIGN_IN
    allowed INTEGER NOT NULL CHECK (allowed IN (0, 1)),
    actor TEXT,                          -- who did it or tried to: an id, or ext: and an extension that nobody had
    user TEXT,                           -- to whom
    queue TEXT,                          -- to which queue, or on which
    entry TEXT NOT NULL,                 -- JSON: all of it, the columns above included
    hash BLOB NOT NULL                   -- SHA-256 of the hash before in hexadecimal, a line feed, and the entry
) STRICT;

CREATE INDEX audit_log_by_organization ON audit_log (organization_id, revision);

-- Where each organization's chain begins (after what was cut off) and ends. The first hash is all zeros.
CREATE TABLE audit_chain (
    organization_id TEXT PRIMARY KEY,
    cut_revision INTEGER NOT NULL,
    cut_hash BLOB NOT NULL,
    head_revision INTEGER NOT NULL,
    head_hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO audit_chain (organization_id, cut_revision, cut_hash, head_revision, head_hash)
    SELECT organization_id, last, zeroblob(32), last, zeroblob(32)
    FROM (SELECT DISTINCT organization_id FROM change_log), (SELECT max(revision) AS last FROM change_log);

DROP TABLE change_log;
