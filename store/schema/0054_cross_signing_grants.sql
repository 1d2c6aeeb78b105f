-- Users who may replace their cross-signing keys once without a password: an administrator has said so. Written by e2ee.
CREATE TABLE cross_signing_grants (
	ushard  {INT8} NOT NULL,
	user_id {TEXT} NOT NULL,
	until   {INT8} NOT NULL, -- milliseconds
	PRIMARY KEY (ushard, user_id)
);
