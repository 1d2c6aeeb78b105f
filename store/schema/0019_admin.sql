-- What administrators do.

-- Rooms that no user of this server may enter. Written by roomserver.
CREATE TABLE blocked_rooms (
	room_id {TEXT} PRIMARY KEY,
	by_user {TEXT} NOT NULL, -- the administrator
	ts      {INT8} NOT NULL
) {CLUSTERED};

-- What administrators asked for that takes its time. A job of the kind task does it. Written by policy.
CREATE TABLE tasks (
	task_id  {TEXT}  PRIMARY KEY,
	kind     {TEXT}  NOT NULL,
	about    {TEXT}  NOT NULL, -- the id of a room or a user
	status   {TEXT}  NOT NULL, -- scheduled, active, complete, failed
	wish     {BYTES} NOT NULL, -- JSON: what was asked for
	progress {BYTES} NOT NULL, -- JSON: what is done
	failure  {BYTES} NOT NULL, -- text
	created  {INT8}  NOT NULL,
	changed  {INT8}  NOT NULL
);
CREATE INDEX tasks_about ON tasks (kind, about, created);
CREATE INDEX tasks_changed ON tasks (changed);
