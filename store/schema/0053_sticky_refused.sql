-- Sticky events (MSC4354) that the state of their room did not allow when they came, and may allow when it changes.
-- Rows that are over go with the next of the room. Written by roomserver.
CREATE TABLE sticky_refused (
	shard     {INT8} NOT NULL,
	room_nid  {INT8} NOT NULL,
	event_nid {INT8} NOT NULL,
	until     {INT8} NOT NULL, -- milliseconds: as long as it would be sticky
	PRIMARY KEY (shard, room_nid, event_nid)
);
