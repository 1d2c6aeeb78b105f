-- Files that administrators keep from being quarantined.
ALTER TABLE media ADD COLUMN protected {INT8} NOT NULL DEFAULT 0; -- 1: it is, as stickers that many use
