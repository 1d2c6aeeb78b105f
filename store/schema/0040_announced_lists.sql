-- Whether other servers are told of devices only since their user came into a room with them, and not since the
-- devices changed.
ALTER TABLE outbound_lists ADD COLUMN announced {INT8} NOT NULL DEFAULT 0;
