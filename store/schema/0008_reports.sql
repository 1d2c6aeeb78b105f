-- What users find wrong, for the administrators to read. Written by policy.
CREATE TABLE reports (
	report_id {INT8}  PRIMARY KEY, -- rises with time
	reporter  {TEXT}  NOT NULL,
	room_id   {TEXT}  NOT NULL, -- empty: a user is reported
	event_id  {TEXT}  NOT NULL, -- empty: not an event
	user_id   {TEXT}  NOT NULL, -- who is reported, or who sent the event; empty: a room is reported
	reason    {BYTES} NOT NULL, -- text of the reporter
	ts        {INT8}  NOT NULL
) {CLUSTERED};
