-- Relations between events.

-- Events that are about another one of their room. The row of a redacted one is gone. The other event is
-- named by its id, since it may come later, or never. Written by roomserver.
CREATE TABLE relations (
	shard      {INT8} NOT NULL,
	room_nid   {INT8} NOT NULL,
	target     {TEXT} NOT NULL, -- id of the event that it is about
	kind       {TEXT} NOT NULL, -- the rel_type
	seq        {INT8} NOT NULL, -- of the event that has the relation
	event_nid  {INT8} NOT NULL,
	event_id   {TEXT} NOT NULL,
	type       {TEXT} NOT NULL,
	sender     {TEXT} NOT NULL,
	ts         {INT8} NOT NULL, -- its origin_server_ts
	annotation {TEXT} NOT NULL, -- what an m.annotation says, shortened; else empty
	PRIMARY KEY (shard, room_nid, target, kind, seq)
) {CLUSTERED};
CREATE INDEX relations_threads ON relations (shard, room_nid, target, seq, sender) WHERE kind = 'm.thread';

-- 1: some event says more about this one than an annotation, so who shows it looks into relations.
ALTER TABLE events ADD COLUMN related {INT8} NOT NULL DEFAULT 0;
