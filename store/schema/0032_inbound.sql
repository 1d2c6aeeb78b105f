-- What other servers send.

-- Transactions that were taken, and what they were answered, so that a repetition is answered the same.
-- Written by federation/inbound.
CREATE TABLE inbound_txns (
	origin {TEXT} NOT NULL,
	txn_id {TEXT} NOT NULL,
	ts     {INT8} NOT NULL, -- when: milliseconds
	answer {BYTES} NOT NULL,
	PRIMARY KEY (origin, txn_id)
);
CREATE INDEX inbound_txns_ts ON inbound_txns (ts);

-- Verified events that were taken and wait to be received into their rooms. Written by federation/inbound.
CREATE TABLE inbound_pdus (
	shard    {INT8} NOT NULL,
	room_nid {INT8} NOT NULL,
	event_id {TEXT} NOT NULL,
	came     {INT8} NOT NULL, -- a number that rises
	origin   {TEXT} NOT NULL, -- the server that brought it
	gap      {INT8} NOT NULL, -- 1: what is before it has to be fetched
	due      {INT8} NOT NULL, -- where that failed: not before, in milliseconds by the clock of the database
	attempts {INT8} NOT NULL,
	json     {BYTES} NOT NULL, -- as it was verified: maybe redacted
	PRIMARY KEY (shard, room_nid, event_id)
);
