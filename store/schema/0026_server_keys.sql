-- Keys that servers sign with. Written by federation/peer.

-- What other servers, or notaries, told of their keys. Written by federation/peer.
CREATE TABLE server_keys (
	server      {TEXT} NOT NULL,
	key_id      {TEXT} NOT NULL,
	public      {BYTES} NOT NULL,
	valid_until {INT8} NOT NULL, -- milliseconds, at most seven days after it was told; it may sign until then
	expired     {INT8} NOT NULL, -- since when it signs no more, or 0
	stated      {INT8} NOT NULL, -- the valid_until_ts of what told it: who tells more lately has a later one
	fetched     {INT8} NOT NULL,
	object      {BYTES} NOT NULL, -- what told it, with its signatures
	PRIMARY KEY (server, key_id)
);

-- The keys that this server signs with or has signed with. Written by federation/peer.
CREATE TABLE own_keys (
	key_id  {TEXT} PRIMARY KEY,
	public  {BYTES} NOT NULL,
	expired {INT8} NOT NULL -- since when it signs no more, milliseconds; 0: it does
);
