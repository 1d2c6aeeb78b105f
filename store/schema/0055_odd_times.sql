-- Events whose time is not near that of the events beside them in the timeline: all others are found by their times with
-- the help of the timeline alone, which need not be indexed by time for that. Written by roomserver.
CREATE TABLE odd_times (
	shard    {INT8} NOT NULL,
	room_nid {INT8} NOT NULL,
	seq      {INT8} NOT NULL,
	ts       {INT8} NOT NULL, -- as the sender says: milliseconds
	PRIMARY KEY (shard, room_nid, seq)
) {CLUSTERED};
CREATE INDEX odd_times_ts ON odd_times (shard, room_nid, ts, seq);
