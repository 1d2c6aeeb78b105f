-- Events that are to be sent later. An event that was sent so has no device in events.txn_device, and its
-- delay_id in events.txn_id.

-- An event that a user left to be sent at a time, and what became of it. Written by delayed.
CREATE TABLE delayed_events (
	ushard    {INT8}  NOT NULL,
	delay_id  {TEXT}  NOT NULL, -- begins with the shard, two hexadecimal digits; the rest is by chance
	user_id   {TEXT}  NOT NULL,
	device_id {TEXT}  NOT NULL, -- that left it
	scope     {TEXT}  NOT NULL, -- with which request: its path, but for the transaction id
	txn_id    {TEXT}  NOT NULL, -- empty: it had none
	room_id   {TEXT}  NOT NULL,
	type      {TEXT}  NOT NULL,
	is_state  {INT8}  NOT NULL,
	state_key {TEXT}  NOT NULL,
	content   {BYTES} NOT NULL,
	event_ts  {INT8}  NOT NULL, -- milliseconds: what an application service gives the event; 0: when it is sent
	unlimited {INT8}  NOT NULL, -- 1: its user is not rate limited
	delay     {INT8}  NOT NULL, -- milliseconds
	since     {INT8}  NOT NULL, -- milliseconds: when it was left, or restarted last
	due       {INT8}  NOT NULL, -- milliseconds: when it is to be sent
	ended     {INT8}  NOT NULL, -- milliseconds: when it was sent, refused or cancelled; 0: it waits
	event_id  {TEXT}  NOT NULL, -- empty: not sent
	error     {BYTES} NOT NULL, -- why it was refused: JSON
	PRIMARY KEY (ushard, delay_id)
);
CREATE INDEX delayed_events_due ON delayed_events (due) WHERE ended = 0;
CREATE INDEX delayed_events_of ON delayed_events (ushard, user_id, ended, due);
CREATE INDEX delayed_events_ended ON delayed_events (ended) WHERE ended > 0;
CREATE UNIQUE INDEX delayed_events_txn ON delayed_events (ushard, user_id, device_id, scope, txn_id) WHERE txn_id <> '';
