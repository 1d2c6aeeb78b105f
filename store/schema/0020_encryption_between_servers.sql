-- Encryption between servers. All tables here are written by e2ee.

-- Whose devices changed without a server having heard of it. Written by e2ee.
CREATE TABLE outbound_lists (
	server    {TEXT} NOT NULL,
	user_id   {TEXT} NOT NULL, -- of ours
	device_id {TEXT} NOT NULL, -- empty: the cross-signing keys
	pos       {INT8} NOT NULL, -- where it changed last, which other servers know as the stream id
	PRIMARY KEY (server, user_id, device_id)
) {CLUSTERED};
CREATE INDEX outbound_lists_order ON outbound_lists (server, pos);

-- The last stream id of a user's devices that a server has acknowledged. Written by e2ee.
CREATE TABLE outbound_told (
	server  {TEXT} NOT NULL,
	user_id {TEXT} NOT NULL,
	pos     {INT8} NOT NULL,
	PRIMARY KEY (server, user_id)
) {CLUSTERED};

-- Messages to devices of other servers that these have not acknowledged. Written by e2ee.
CREATE TABLE outbound_messages (
	server  {TEXT}  NOT NULL,
	pos     {INT8}  NOT NULL, -- place in the stream, and so in the queue
	message {BYTES} NOT NULL, -- the content of an m.direct_to_device
	PRIMARY KEY (server, pos)
);

-- Messages to devices that other servers have sent, so that a repeated one is not delivered again. Written by e2ee.
CREATE TABLE inbound_messages (
	server     {TEXT} NOT NULL,
	message_id {TEXT} NOT NULL,
	ts         {INT8} NOT NULL, -- milliseconds
	PRIMARY KEY (server, message_id)
) {CLUSTERED};
CREATE INDEX inbound_messages_ts ON inbound_messages (ts);

-- What is kept of the devices of a user of another server, as long as they share a room with ours. Written by e2ee.
CREATE TABLE remote_lists (
	ushard       {INT8}  NOT NULL,
	user_id      {TEXT}  NOT NULL,
	stream_id    {INT8}  NOT NULL, -- as their server counts; what came up to it is here
	asked        {INT8}  NOT NULL, -- +1 each time that the list has to be read anew
	done         {INT8}  NOT NULL, -- the asking that was fulfilled; less than asked: what is here may be old
	master       {BYTES} NOT NULL, -- cross-signing keys, canonical JSON; empty: none
	self_signing {BYTES} NOT NULL,
	PRIMARY KEY (ushard, user_id)
);

-- The devices of these users that have keys. Written by e2ee.
CREATE TABLE remote_devices (
	ushard    {INT8}  NOT NULL,
	user_id   {TEXT}  NOT NULL,
	device_id {TEXT}  NOT NULL,
	name      {TEXT}  NOT NULL,
	keys      {BYTES} NOT NULL, -- canonical JSON without unsigned
	PRIMARY KEY (ushard, user_id, device_id)
);

-- In which rooms a user is, of whatever server.
CREATE INDEX members_user ON members (user_id);
