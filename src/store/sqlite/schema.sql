-- The schema that this version reads and writes. The migrations make it; a test compares the two.
-- Times are milliseconds since 1970: datetime(sign_in_time_ms / 1000, 'unixepoch') reads them.

-- The identity of the store: one row.
CREATE TABLE store (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    store_id TEXT NOT NULL,              -- 16 hexadecimal digits, drawn when the file was created
    epoch INTEGER NOT NULL               -- 1; a restore from a backup raises it
) STRICT;

-- Organizations, with the one setting that is not on or off.
CREATE TABLE organization (
    organization_id TEXT PRIMARY KEY,
    display_name TEXT NOT NULL,
    unassigned_queue_sign_in TEXT NOT NULL CHECK (unassigned_queue_sign_in IN ('ALLOWED', 'RESTRICTED')),
    settings_etag INTEGER NOT NULL       -- the revision of the last change of the settings
) STRICT, WITHOUT ROWID;

-- The settings that are on or off.
CREATE TABLE permission_setting (
    organization_id TEXT NOT NULL REFERENCES organization ON DELETE CASCADE,
    setting TEXT NOT NULL,               -- its path, such as supervisor.limit_to_assigned_queues
    is_on INTEGER NOT NULL CHECK (is_on IN (0, 1)),
    PRIMARY KEY (organization_id, setting)
) STRICT, WITHOUT ROWID;

-- Users. At most one user of an organization has an extension or a login.
CREATE TABLE user (
    organization_id TEXT NOT NULL REFERENCES organization ON DELETE CASCADE,
    user_id TEXT NOT NULL,
    display_name TEXT NOT NULL,
    extension TEXT,
    contact_center_license INTEGER NOT NULL CHECK (contact_center_license IN (0, 1)),
    disabled INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    login TEXT,                          -- the name at an identity provider
    PRIMARY KEY (organization_id, user_id),
    UNIQUE (organization_id, extension)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX user_by_login ON user (organization_id, login) WHERE login IS NOT NULL;

-- Queues. At most one queue of an organization has an extension.
CREATE TABLE queue (
    organization_id TEXT NOT NULL REFERENCES organization ON DELETE CASCADE,
    queue_id TEXT NOT NULL,
    display_name TEXT NOT NULL,
    extension TEXT,
    kind TEXT NOT NULL CHECK (kind IN ('CALL_QUEUE', 'INBOX', 'CAMPAIGN', 'RING_GROUP')),
    PRIMARY KEY (organization_id, queue_id),
    UNIQUE (organization_id, extension)
) STRICT, WITHOUT ROWID;

-- Roles held for the whole organization.
CREATE TABLE organization_role (
    organization_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('CONTACT_ADMIN', 'SUPERVISOR', 'AGENT')),
    PRIMARY KEY (organization_id, user_id, role),
    FOREIGN KEY (organization_id, user_id) REFERENCES user ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- Roles held for one queue. AGENT here is "assigned to the queue".
CREATE TABLE queue_role (
    organization_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    queue_id TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('SUPERVISOR', 'AGENT')),
    penalty INTEGER NOT NULL DEFAULT 0 CHECK (penalty BETWEEN 0 AND 999),  -- the order in which the PBX rings agents
    PRIMARY KEY (organization_id, user_id, queue_id, role),
    FOREIGN KEY (organization_id, user_id) REFERENCES user ON DELETE CASCADE,
    FOREIGN KEY (organization_id, queue_id) REFERENCES queue ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX queue_role_by_queue ON queue_role (organization_id, queue_id);

-- Users' PINs. They are in no log, no export and no state in memory.
CREATE TABLE user_pin (
    organization_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    hash TEXT NOT NULL,                  -- Argon2id, in the PHC string format
    etag INTEGER NOT NULL,               -- the revision of the change that set it
    failures INTEGER NOT NULL,           -- wrong PINs in a row
    locked_until_ms INTEGER,
    PRIMARY KEY (organization_id, user_id),
    FOREIGN KEY (organization_id, user_id) REFERENCES user ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- Sessions that have not ended, in the order of their ids, which rise with time: a batch starts its sessions on the last pages.
-- The server checks when it loads them that user and queue exist and that no user has two sessions on a queue.
CREATE TABLE session (
    session_id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    queue_id TEXT NOT NULL,
    channel TEXT NOT NULL CHECK (channel = 'FEATURE_CODE' OR channel = 'AGENT_DASHBOARD' OR channel = 'SUPERVISOR'),
    basis TEXT NOT NULL CHECK (basis = 'ASSIGNED' OR basis = 'UNASSIGNED_ALLOWED' OR basis = 'SUPERVISOR'),
    signed_in_by TEXT NOT NULL,
    sign_in_time_ms INTEGER NOT NULL,
    expire_time_ms INTEGER,
    device TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Requests that carried a request_id, for 24 hours, so that repeating one changes nothing.
CREATE TABLE request (
    organization_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    content_sha256 TEXT NOT NULL,
    outcome TEXT NOT NULL,               -- JSON
    revision INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    PRIMARY KEY (organization_id, request_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX request_by_time ON request (time_ms);

-- Every change and every refusal. One hash chain per organization.
CREATE TABLE audit_log (
    revision INTEGER PRIMARY KEY,        -- dense over all organizations, except for cut events
    organization_id TEXT NOT NULL,
    time_ms INTEGER NOT NULL,
    action TEXT NOT NULL,                -- such as SIGN_IN
    allowed INTEGER NOT NULL CHECK (allowed IN (0, 1)),
    actor TEXT,                          -- the user who acted: an id, or ext: and an extension that no user had
    user TEXT,                           -- the user concerned
    queue TEXT,                          -- the queue concerned
    entry TEXT NOT NULL,                 -- JSON: the whole event, with the columns above
    hash BLOB NOT NULL                   -- SHA-256 of: the previous hash in hexadecimal, a line feed, the entry
) STRICT;
CREATE INDEX audit_log_by_organization ON audit_log (organization_id, revision);

-- The start (after a cut) and the end of each organization's chain. The first hash is all zeros.
CREATE TABLE audit_chain (
    organization_id TEXT PRIMARY KEY,
    cut_revision INTEGER NOT NULL,
    cut_hash BLOB NOT NULL,
    head_revision INTEGER NOT NULL,
    head_hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;
