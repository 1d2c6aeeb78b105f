-- Files that people share: what they are called, where their bytes are, and what is taken up by whom.

-- The files themselves, each once, by the SHA-256 of its bytes. A row is there before its file and goes
-- after it, so that a file without a row never exists. Written by media.
CREATE TABLE media_blobs (
	hash    {BYTES} PRIMARY KEY,
	size    {INT8} NOT NULL,
	place   {TEXT} NOT NULL, -- which storage has it: disk or s3
	state   {INT8} NOT NULL, -- 0 arriving, 1 here, 2 being deleted
	touched {INT8} NOT NULL  -- milliseconds: when somebody last began to bring it; 0: sweep it soon
);
CREATE INDEX media_blobs_touched ON media_blobs (touched);

-- What an mxc:// URI stands for. Written by media.
CREATE TABLE media (
	origin       {TEXT} NOT NULL, -- the server of the URI
	media_id     {TEXT} NOT NULL,
	user_id      {TEXT} NOT NULL, -- who uploaded it; empty: it is remote, or of a preview
	hash         {BYTES} NOT NULL, -- empty: not yet uploaded
	size         {INT8} NOT NULL,
	content_type {TEXT} NOT NULL,
	filename     {TEXT} NOT NULL,
	created      {INT8} NOT NULL, -- milliseconds
	accessed     {INT8} NOT NULL, -- milliseconds, to about a day
	expires      {INT8} NOT NULL, -- milliseconds: when it goes by itself; 0: never
	public       {INT8} NOT NULL, -- 1: may be had without a login at the old endpoints
	quarantined  {INT8} NOT NULL, -- 1: given to nobody
	PRIMARY KEY (origin, media_id)
);
CREATE INDEX media_hash ON media (hash);
CREATE INDEX media_user ON media (user_id, created);
CREATE INDEX media_expires ON media (expires) WHERE expires > 0;

-- Thumbnails that were made, by the file that they show. Written by media.
CREATE TABLE media_thumbnails (
	hash         {BYTES} NOT NULL, -- of the file that it shows
	form         {TEXT} NOT NULL, -- such as crop-96x96 or scale-320x240-animated
	thumbnail    {BYTES} NOT NULL, -- the hash of its own file
	content_type {TEXT} NOT NULL,
	PRIMARY KEY (hash, form)
);
CREATE INDEX media_thumbnails_thumbnail ON media_thumbnails (thumbnail);

-- Files that nobody may upload or get. Written by media.
CREATE TABLE media_blocked (
	hash    {BYTES} PRIMARY KEY,
	reason  {TEXT} NOT NULL,
	blocked {INT8} NOT NULL -- milliseconds
);

-- What a user has uploaded; the row without a user is all files of the server. Written by media.
CREATE TABLE media_usage (
	user_id   {TEXT} PRIMARY KEY,
	files     {INT8} NOT NULL,
	bytes     {INT8} NOT NULL,
	day       {INT8} NOT NULL, -- days since 1970
	day_bytes {INT8} NOT NULL -- uploaded on that day
);

-- Previews of links, for a while. Written by media.
CREATE TABLE media_previews (
	url     {TEXT} PRIMARY KEY,
	answer  {BYTES} NOT NULL, -- JSON; empty: there was none
	expires {INT8} NOT NULL -- milliseconds
);
CREATE INDEX media_previews_expires ON media_previews (expires);
