-- What administrators set on accounts besides.
ALTER TABLE users ADD COLUMN shadow_banned {INT8} NOT NULL DEFAULT 0; -- 1: what the user sends reaches nobody, and they are not told
ALTER TABLE users ADD COLUMN limit_rate {INT8} NOT NULL DEFAULT -1; -- messages a second that they may send; 0: without limit, -1: as the settings say
ALTER TABLE users ADD COLUMN limit_burst {INT8} NOT NULL DEFAULT 0; -- and at once
