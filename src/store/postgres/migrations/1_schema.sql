-- The schema of a cluster's database. Times are milliseconds since 1970. The tables are those of the SQLite file, with
-- the head, which decides the order of all changes, and the nodes.

-- The identity of the store: one row.
CREATE TABLE store (
    only_row BOOLEAN PRIMARY KEY CHECK (only_row),
    product TEXT NOT NULL CHECK (product = 'queuegate'),
    schema_version INTEGER NOT NULL,
    min_reader INTEGER NOT NULL,         -- the oldest schema version that a node must know to work with this one
    store_id TEXT COLLATE "C" NOT NULL,  -- 16 hexadecimal digits, drawn when the schema was created
    unusable TEXT                        -- the reason for which no node may use this store, or NULL
);

-- The end of the history: one row. A commit locks it, and is refused unless it continues exactly this end.
CREATE TABLE head (
    only_row BOOLEAN PRIMARY KEY CHECK (only_row),
    epoch BIGINT NOT NULL,               -- rises after a failover and after a restore
    sequence BIGINT NOT NULL,
    nonce BIGINT NOT NULL,               -- drawn anew to refuse a statement whose outcome is unknown
    timeline BIGINT NOT NULL             -- PostgreSQL's timeline of the epoch
) WITH (fillfactor = 10);

-- The start of each epoch: revisions of earlier epochs are part of the history up to here.
CREATE TABLE epoch (
    epoch BIGINT PRIMARY KEY,
    start_sequence BIGINT NOT NULL,
    timeline BIGINT NOT NULL,
    time_ms BIGINT NOT NULL
);

-- The nodes, for `queuegate status`.
CREATE TABLE node (
    node_id TEXT COLLATE "C" PRIMARY KEY,
    address TEXT NOT NULL,
    version TEXT NOT NULL,
    revision BIGINT NOT NULL,
    stale_ms BIGINT NOT NULL,            -- how long the node had not seen the head, at its last heartbeat
    start_time_ms BIGINT NOT NULL,
    heartbeat_time_ms BIGINT NOT NULL
);

CREATE TABLE organization (
    organization_id TEXT COLLATE "C" PRIMARY KEY,
    display_name TEXT NOT NULL,
    unassigned_queue_sign_in TEXT NOT NULL CHECK (unassigned_queue_sign_in IN ('ALLOWED', 'RESTRICTED')),
    settings_etag BIGINT NOT NULL
);

CREATE TABLE permission_setting (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organization ON DELETE CASCADE,
    setting TEXT COLLATE "C" NOT NULL,
    is_on BOOLEAN NOT NULL,
    PRIMARY KEY (organization_id, setting)
);

CREATE TABLE "user" (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organization ON DELETE CASCADE,
    user_id TEXT COLLATE "C" NOT NULL,
    display_name TEXT NOT NULL,
    extension TEXT COLLATE "C",
    contact_center_license BOOLEAN NOT NULL,
    disabled BOOLEAN NOT NULL,
    login TEXT COLLATE "C",              -- the name at an identity provider
    PRIMARY KEY (organization_id, user_id),
    UNIQUE (organization_id, extension) DEFERRABLE INITIALLY IMMEDIATE,
    UNIQUE (organization_id, login) DEFERRABLE INITIALLY IMMEDIATE
);

CREATE TABLE queue (
    organization_id TEXT COLLATE "C" NOT NULL REFERENCES organization ON DELETE CASCADE,
    queue_id TEXT COLLATE "C" NOT NULL,
    display_name TEXT NOT NULL,
    extension TEXT COLLATE "C",
    kind TEXT NOT NULL CHECK (kind IN ('CALL_QUEUE', 'INBOX', 'CAMPAIGN', 'RING_GROUP')),
    PRIMARY KEY (organization_id, queue_id),
    UNIQUE (organization_id, extension) DEFERRABLE INITIALLY IMMEDIATE
);

CREATE TABLE organization_role (
    organization_id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    role TEXT COLLATE "C" NOT NULL CHECK (role IN ('CONTACT_ADMIN', 'SUPERVISOR', 'AGENT')),
    PRIMARY KEY (organization_id, user_id, role),
    FOREIGN KEY (organization_id, user_id) REFERENCES "user" ON DELETE CASCADE
);

CREATE TABLE queue_role (
    organization_id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    queue_id TEXT COLLATE "C" NOT NULL,
    role TEXT COLLATE "C" NOT NULL CHECK (role IN ('SUPERVISOR', 'AGENT')),
    PRIMARY KEY (organization_id, user_id, queue_id, role),
    FOREIGN KEY (organization_id, user_id) REFERENCES "user" ON DELETE CASCADE,
    FOREIGN KEY (organization_id, queue_id) REFERENCES queue ON DELETE CASCADE
);
CREATE INDEX queue_role_by_queue ON queue_role (organization_id, queue_id);

-- A user has at most one session on a queue.
CREATE TABLE session (
    session_id TEXT COLLATE "C" PRIMARY KEY,
    organization_id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    queue_id TEXT COLLATE "C" NOT NULL,
    channel TEXT NOT NULL CHECK (channel IN ('FEATURE_CODE', 'AGENT_DASHBOARD', 'SUPERVISOR')),
    basis TEXT NOT NULL CHECK (basis IN ('ASSIGNED', 'UNASSIGNED_ALLOWED', 'SUPERVISOR')),
    signed_in_by TEXT NOT NULL,
    sign_in_time_ms BIGINT NOT NULL,
    expire_time_ms BIGINT,
    device TEXT NOT NULL,
    UNIQUE (organization_id, user_id, queue_id) DEFERRABLE INITIALLY IMMEDIATE
);

CREATE TABLE request (
    organization_id TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    content_sha256 TEXT NOT NULL,
    outcome TEXT NOT NULL,
    revision BIGINT NOT NULL,
    time_ms BIGINT NOT NULL,
    PRIMARY KEY (organization_id, request_id)
);
CREATE INDEX request_by_time ON request (time_ms);

CREATE TABLE audit_log (
    revision BIGINT PRIMARY KEY,
    organization_id TEXT COLLATE "C" NOT NULL,
    time_ms BIGINT NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    allowed BOOLEAN NOT NULL,
    actor TEXT COLLATE "C",
    "user" TEXT COLLATE "C",
    queue TEXT COLLATE "C",
    entry TEXT NOT NULL,
    hash BYTEA NOT NULL
);
CREATE INDEX audit_log_by_organization ON audit_log (organization_id, revision);

CREATE TABLE audit_chain (
    organization_id TEXT COLLATE "C" PRIMARY KEY,
    cut_revision BIGINT NOT NULL,
    cut_hash BYTEA NOT NULL,
    head_revision BIGINT NOT NULL,
    head_hash BYTEA NOT NULL
);
