-- What the store itself needs on every node.

-- Where each stream is: its newest position. The row is updated in the transaction that takes positions
-- and stays locked to its commit, which makes positions dense and ordered by commit. Written by store.
CREATE TABLE streams (
	name {TEXT} PRIMARY KEY,
	pos  {INT8} NOT NULL
);
INSERT INTO streams (name, pos) VALUES ('main', 0);

-- Up to where the numbers of a kind have been given out. A node takes blocks. Written by store.
CREATE TABLE counters (
	name  {TEXT} PRIMARY KEY,
	taken {INT8} NOT NULL -- the greatest number that may be in use
);

-- Which node may do a thing alone, and until when by the clock of the database. Written by store.
CREATE TABLE leases (
	name    {TEXT} PRIMARY KEY,
	node    {TEXT} NOT NULL,
	expires {INT8} NOT NULL, -- milliseconds; in the past: free
	term    {INT8} NOT NULL  -- +1 each time that the holder changes
);

-- The nodes of this server and when they last said that they live. Written by store.
CREATE TABLE nodes (
	node    {TEXT} PRIMARY KEY,
	address {TEXT} NOT NULL, -- where clients reach this node directly, or empty
	version {TEXT} NOT NULL, -- of the program
	started {INT8} NOT NULL, -- milliseconds by the clock of the database, as all times here
	seen    {INT8} NOT NULL
);

-- Work to be done outside of the transaction that asked for it, at least once. Written by store.
CREATE TABLE jobs (
	kind     {TEXT} NOT NULL,
	key      {TEXT} NOT NULL, -- what it is about: asking again before it ran asks once
	payload  {BYTES} NOT NULL,
	run_at   {INT8} NOT NULL, -- not before; while a node works on it: until when it may
	asked    {INT8} NOT NULL, -- +1 with each asking, so that one during the work is not lost
	attempts {INT8} NOT NULL, -- runs since it was asked for
	claim    {INT8} NOT NULL, -- a random number of the run that has it, or 0
	failure  {TEXT} NOT NULL, -- what the last run said, or empty
	PRIMARY KEY (kind, key)
);
CREATE INDEX jobs_due ON jobs (kind, run_at);
