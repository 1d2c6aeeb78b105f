-- Tokens that log somebody in once, made by a session for another device. Written by account.
CREATE TABLE login_tokens (
	ushard     {INT8}  NOT NULL,
	token_hash {BYTES} NOT NULL,
	user_id    {TEXT}  NOT NULL,
	expires_ts {INT8}  NOT NULL,
	PRIMARY KEY (ushard, token_hash)
) {CLUSTERED};
CREATE INDEX login_tokens_expiry ON login_tokens (expires_ts);
