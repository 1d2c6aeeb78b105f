-- What sliding sync asks of rooms, and the connections of its clients.

-- What lists of rooms are filtered and sorted by. A room that nothing was written to since this came has -1 in
-- encrypted: then all three are not known, and are found from its state.
ALTER TABLE rooms ADD COLUMN kind {TEXT} NOT NULL DEFAULT ''; -- type in the create event
ALTER TABLE rooms ADD COLUMN encrypted {INT8} NOT NULL DEFAULT -1; -- 1: encryption is on
ALTER TABLE rooms ADD COLUMN bump_pos {INT8} NOT NULL DEFAULT 0; -- where the newest event is that people care about

-- What a connection was told of which rooms: what a client shows with its next request, and what came of it. Any
-- row may be lost: then the client begins anew. Written by syncapi.
CREATE TABLE sliding_connections (
	ushard     {INT8}  NOT NULL,
	user_id    {TEXT}  NOT NULL,
	device_id  {TEXT}  NOT NULL,
	conn_id    {TEXT}  NOT NULL,
	generation {INT8}  NOT NULL,
	identity   {INT8}  NOT NULL, -- a connection that begins anew has another one
	rooms      {BYTES} NOT NULL,
	used       {INT8}  NOT NULL, -- milliseconds
	PRIMARY KEY (ushard, user_id, device_id, conn_id, generation)
);
CREATE INDEX sliding_connections_used ON sliding_connections (used);
