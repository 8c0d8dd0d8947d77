-- A user's name at an identity provider. Most users have none, so the index has only those who do.

ALTER TABLE user ADD COLUMN login TEXT;
CREATE UNIQUE INDEX user_by_login ON user (organization_id, login) WHERE login IS NOT NULL;
