-- What deserves users' attention.

-- What a user changed of the push rules, one JSON object a user. Written by push.
CREATE TABLE push_rules (
	ushard  {INT8}  NOT NULL,
	user_id {TEXT}  NOT NULL,
	changes {BYTES} NOT NULL,
	pos     {INT8}  NOT NULL, -- where the newest change came into the stream
	PRIMARY KEY (ushard, user_id)
);

-- How much a user has not read of a room, summed up to a place of its timeline: a JSON object. Any row may
-- be lost, and is not written for every event. Written by push.
CREATE TABLE unread (
	ushard   {INT8}  NOT NULL,
	user_id  {TEXT}  NOT NULL,
	room_nid {INT8}  NOT NULL,
	seq      {INT8}  NOT NULL,
	sum      {BYTES} NOT NULL,
	PRIMARY KEY (ushard, user_id, room_nid)
) {CLUSTERED};

-- Where a user's notifications are sent. Written by push.
CREATE TABLE pushers (
	ushard    {INT8}  NOT NULL,
	user_id   {TEXT}  NOT NULL,
	app_id    {TEXT}  NOT NULL,
	pushkey   {TEXT}  NOT NULL,
	device_id {TEXT}  NOT NULL, -- that set it, and with which it goes
	kind      {TEXT}  NOT NULL, -- http
	pusher    {BYTES} NOT NULL, -- as clients see it: a JSON object
	created   {INT8}  NOT NULL, -- milliseconds
	badge     {INT8}  NOT NULL, -- the count of unread events that it was told last; -1: none
	PRIMARY KEY (ushard, user_id, app_id, pushkey)
);
CREATE INDEX pushers_of ON pushers (user_id);

-- What is to be sent to a pusher, in the order of the stream. A job of the kind push does it. Written by push.
CREATE TABLE push_queue (
	ushard    {INT8}  NOT NULL,
	user_id   {TEXT}  NOT NULL,
	app_id    {TEXT}  NOT NULL,
	pushkey   {TEXT}  NOT NULL,
	pos       {INT8}  NOT NULL, -- of the event
	seq       {INT8}  NOT NULL,
	event_nid {INT8}  NOT NULL,
	room_nid  {INT8}  NOT NULL,
	actions   {BYTES} NOT NULL, -- of the rule that decided: a JSON list
	queued    {INT8}  NOT NULL, -- milliseconds
	PRIMARY KEY (ushard, user_id, app_id, pushkey, pos)
) {CLUSTERED};

-- Which users have a pusher of this app and key: mostly one. Not sharded, for it is looked up by the key of
-- the pusher alone. Written by push.
CREATE TABLE pusher_users (
	app_id  {TEXT} NOT NULL,
	pushkey {TEXT} NOT NULL,
	user_id {TEXT} NOT NULL,
	PRIMARY KEY (app_id, pushkey, user_id)
) {CLUSTERED};
