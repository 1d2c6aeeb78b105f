-- Events of other servers.

-- The state once a state event was there, as its own branch of the DAG has it; 0: as before it, or, where
-- it is of before this column, as its row in timeline says. And why an event was rejected or soft-failed.
ALTER TABLE events ADD COLUMN snap_after {INT8} NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN why {TEXT} NOT NULL DEFAULT '';
