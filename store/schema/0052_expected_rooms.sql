-- Rooms that users of ours are about to enter by the help of other servers: what these send of them meanwhile is kept, by
-- every node. Written by roomserver.
CREATE TABLE expected_rooms (
	shard    {INT8} NOT NULL,
	room_nid {INT8} NOT NULL,
	holder   {TEXT} NOT NULL, -- one entering of the room
	until    {INT8} NOT NULL, -- milliseconds by the clock of the database; renewed while it goes on
	PRIMARY KEY (shard, room_nid, holder)
);
