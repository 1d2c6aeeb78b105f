-- Events that are sticky (MSC4354): until they are not, clients are told of them whatever else a room has.

-- A sticky event of a room's timeline. Rows that are over go with the next sticky event of the room. Written by roomserver.
CREATE TABLE sticky_events (
	shard     {INT8} NOT NULL,
	room_nid  {INT8} NOT NULL,
	pos       {INT8} NOT NULL,
	event_nid {INT8} NOT NULL,
	seq       {INT8} NOT NULL,
	until     {INT8} NOT NULL, -- milliseconds
	PRIMARY KEY (shard, room_nid, pos)
);
CREATE INDEX sticky_events_pos ON sticky_events (pos);

ALTER TABLE delayed_events ADD COLUMN sticky {INT8} NOT NULL DEFAULT 0; -- milliseconds: for how long the event is sticky
