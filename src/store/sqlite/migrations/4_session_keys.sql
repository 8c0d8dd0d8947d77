-- The same sessions in the order of their ids, which rise: what a batch starts lands on the last pages, and what began
-- together ends on the same ones. In the order of users, and in an index by queues, each took two pages of its own. That
-- nobody has two sessions on a queue, and that user and queue exist, the server checks when it reads them.

CREATE TABLE session_anew (
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

INSERT INTO session_anew
    SELECT session_id, organization_id, user_id, queue_id, channel, basis, signed_in_by, sign_in_time_ms, expire_time_ms,
        device
    FROM session;
DROP TABLE session;
ALTER TABLE session_anew RENAME TO session;
