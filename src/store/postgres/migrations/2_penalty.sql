-- The order of preference in which the PBX rings an agent of a queue. It never changes a decision.

ALTER TABLE queue_role ADD COLUMN penalty BIGINT NOT NULL DEFAULT 0 CHECK (penalty BETWEEN 0 AND 999);
