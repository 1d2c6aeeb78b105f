-- A notification about an event that is not kept here, as the gateway is told it: an invite to a room that this
-- server is not in.
ALTER TABLE push_queue ADD COLUMN told {BYTES};
