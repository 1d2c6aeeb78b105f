-- Followers of the stream, and the full-text index, which is one of them.

-- Up to where each follower has done its work. Written by roomserver.
CREATE TABLE followers (
	name {TEXT} PRIMARY KEY,
	pos  {INT8} NOT NULL -- of the last event that it is done with
);

-- The events that can be searched for. Written by search.
CREATE TABLE search_docs (
	shard     {INT8} NOT NULL,
	event_nid {INT8} NOT NULL,
	room_nid  {INT8} NOT NULL,
	doc_id    {INT8} NOT NULL, -- rises with the time that the event tells: milliseconds << 20, and something that makes it unique
	PRIMARY KEY (shard, event_nid)
) {CLUSTERED};
CREATE UNIQUE INDEX search_docs_id ON search_docs (doc_id);

-- The names that users can be found by. Written by search.
CREATE TABLE search_names (
	ushard       {INT8} NOT NULL,
	user_id      {TEXT} NOT NULL,
	room_nid     {INT8} NOT NULL, -- users of other servers: the room whose members know the name; 0: the profile
	doc_id       {INT8} NOT NULL,
	display_name {TEXT} NOT NULL,
	avatar_url   {TEXT} NOT NULL,
	PRIMARY KEY (ushard, user_id, room_nid)
) {CLUSTERED};
CREATE UNIQUE INDEX search_names_id ON search_names (doc_id);

-- The rooms whose members are in search_names. Written by search.
CREATE TABLE search_rooms (
	shard    {INT8} NOT NULL,
	room_nid {INT8} NOT NULL,
	public   {INT8} NOT NULL, -- 1: anybody may join it or read its history
	PRIMARY KEY (shard, room_nid)
) {CLUSTERED};

-- How far the index has been made anew. Written by search.
CREATE TABLE search_rebuild (
	name     {TEXT} PRIMARY KEY, -- one row: 'index'
	form     {INT8} NOT NULL, -- of the terms: another than the program's means that all must be made anew
	running  {INT8} NOT NULL, -- 1: a rebuild is under way
	shard    {INT8} NOT NULL, -- the room up to which it has got
	room_nid {INT8} NOT NULL,
	seq      {INT8} NOT NULL, -- and the place in that room
	done     {INT8} NOT NULL  -- events looked at
);
INSERT INTO search_rebuild (name, form, running, shard, room_nid, seq, done) VALUES ('index', 0, 0, 0, 0, 0, 0);
