-- What is to be sent to other servers.

-- When a server's stay in a room began and ended, in positions of the stream: so that an event can be brought
-- to those that were in the room before it or after it, although they may have left meanwhile.
ALTER TABLE room_servers ADD COLUMN since {INT8} NOT NULL DEFAULT 0; -- of the newest stay; 0: always
ALTER TABLE room_servers ADD COLUMN until {INT8} NOT NULL DEFAULT 0; -- where a stay ended last; 0: never
CREATE INDEX room_servers_of ON room_servers (server);

-- Events of other servers that this one brings to the servers of a room, as it has accepted them for the room:
-- joins, leaves and knocks that came by a handshake. Written by roomserver.
CREATE TABLE relayed (
	shard     {INT8} NOT NULL,
	event_nid {INT8} NOT NULL,
	PRIMARY KEY (shard, event_nid)
) {CLUSTERED};

-- The servers to which something was to be sent at some time. Times are milliseconds by the clock of the
-- database. Written by federation/sender.
CREATE TABLE destinations (
	server     {TEXT} PRIMARY KEY,
	due        {INT8} NOT NULL, -- when something is to be done; far away: nothing waits
	reached    {INT8} NOT NULL, -- when it took a transaction last; 0: never
	failing    {INT8} NOT NULL, -- since when it is not reached; 0: it is
	pause      {INT8} NOT NULL, -- how long it is left alone after the last failure
	retry_at   {INT8} NOT NULL, -- and until when
	failure    {TEXT} NOT NULL, -- what the last failure was
	holder     {TEXT} NOT NULL, -- the node that sends to it, alone, until the time below
	held_until {INT8} NOT NULL
);
CREATE INDEX destinations_due ON destinations (due);

-- The rooms of which a server has not been sent everything: from one place of the timeline to another, for each
-- of its stays in the room. Written by federation/sender.
CREATE TABLE destination_rooms (
	server   {TEXT} NOT NULL,
	room_nid {INT8} NOT NULL,
	since    {INT8} NOT NULL, -- where the stay began, a position of the stream
	from_seq {INT8} NOT NULL, -- the first event that is to be sent
	upto_seq {INT8} NOT NULL, -- and the last one, which is for this server
	queued   {INT8} NOT NULL, -- when the first one was: milliseconds
	PRIMARY KEY (server, room_nid, since)
) {CLUSTERED};
CREATE INDEX destination_rooms_queued ON destination_rooms (server, queued);
