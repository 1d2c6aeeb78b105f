-- Up to where users have read a room. Typing and presence are in memory only.

-- The newest receipt of each user, kind and thread in a room. Written by ephemeral.
CREATE TABLE receipts (
	shard    {INT8} NOT NULL,
	room_nid {INT8} NOT NULL,
	user_id  {TEXT} NOT NULL,
	private  {INT8} NOT NULL, -- 1: m.read.private, which nobody else is told
	thread   {TEXT} NOT NULL, -- an event id, or main; empty: of the room as a whole
	event_id {TEXT} NOT NULL,
	seq      {INT8} NOT NULL, -- of the event in the room's timeline: receipts move forward only
	ts       {INT8} NOT NULL, -- milliseconds
	pos      {INT8} NOT NULL, -- where the receipt came into the stream
	PRIMARY KEY (shard, room_nid, user_id, private, thread)
) {CLUSTERED};
CREATE INDEX receipts_pos ON receipts (pos);
CREATE INDEX receipts_room_pos ON receipts (shard, room_nid, pos);
