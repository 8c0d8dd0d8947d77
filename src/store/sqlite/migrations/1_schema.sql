-- The state as it is now (organization to session), how it came to be (change_log), and which requests were carried
-- out (request). Times are milliseconds since 1970: datetime(sign_in_time_ms / 1000, 'unixepoch') reads them.

CREATE TABLE store (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    store_id TEXT NOT NULL,              -- 16 hexadecimal digits, drawn when the file was created
    epoch INTEGER NOT NULL               -- counts restores from a backup
) STRICT;

CREATE TABLE organization (
    organization_id TEXT PRIMARY KEY,
    display_name TEXT NOT NULL,
    unassigned_queue_sign_in TEXT NOT NULL CHECK (unassigned_queue_sign_in IN ('ALLOWED', 'RESTRICTED')),
    settings_etag INTEGER NOT NULL       -- the revision for which the settings were last changed
) STRICT, WITHOUT ROWID;

CREATE TABLE permission_setting (
    organization_id TEXT NOT NULL REFERENCES organization ON DELETE CASCADE,
    setting TEXT NOT NULL,               -- its path, such as supervisor.limit_to_assigned_queues
    is_on INTEGER NOT NULL CHECK (is_on IN (0, 1)),
    PRIMARY KEY (organization_id, setting)
) STRICT, WITHOUT ROWID;

CREATE TABLE user (
    organization_id TEXT NOT NULL REFERENCES organization ON DELETE CASCADE,
    user_id TEXT NOT NULL,
    display_name TEXT NOT NULL,
    extension TEXT,
    contact_center_license INTEGER NOT NULL CHECK (contact_center_license IN (0, 1)),
    disabled INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    PRIMARY KEY (organization_id, user_id),
    UNIQUE (organization_id, extension)
) STRICT, WITHOUT ROWID;

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

-- Roles held for one queue. AGENT here is what "assigned to the queue" means.
CREATE TABLE queue_role (
    organization_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    queue_id TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('SUPERVISOR', 'AGENT')),
    PRIMARY KEY (organization_id, user_id, queue_id, role),
    FOREIGN KEY (organization_id, user_id) REFERENCES user ON DELETE CASCADE,
    FOREIGN KEY (organization_id, queue_id) REFERENCES queue ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX queue_role_by_queue ON queue_role (organization_id, queue_id);

-- Sessions that have not ended. The primary key is the rule: at most one for a user and a queue. Ended sessions are in
-- change_log, as SESSION_ENDED.
CREATE TABLE session (
    organization_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    queue_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    channel TEXT NOT NULL CHECK (channel IN ('FEATURE_CODE', 'AGENT_DASHBOARD', 'SUPERVISOR')),
    basis TEXT NOT NULL CHECK (basis IN ('ASSIGNED', 'UNASSIGNED_ALLOWED', 'SUPERVISOR')),
    signed_in_by TEXT NOT NULL,
    sign_in_time_ms INTEGER NOT NULL,
    expire_time_ms INTEGER,
    device TEXT NOT NULL,
    PRIMARY KEY (organization_id, user_id, queue_id),
    FOREIGN KEY (organization_id, user_id) REFERENCES user,
    FOREIGN KEY (organization_id, queue_id) REFERENCES queue
) STRICT, WITHOUT ROWID;

CREATE INDEX session_by_queue ON session (organization_id, queue_id);

-- Everything that ever changed, in order. Revisions are dense: 1, 2, 3...
CREATE TABLE change_log (
    revision INTEGER PRIMARY KEY,
    time_ms INTEGER NOT NULL,
    organization_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    change TEXT NOT NULL                 -- JSON
) STRICT;

CREATE INDEX change_log_of_sessions ON change_log (organization_id, revision)
    WHERE kind IN ('SESSION_STARTED', 'SESSION_ENDED');

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
