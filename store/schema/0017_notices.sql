-- The room in which the server tells a user something. Written by policy.
CREATE TABLE notice_rooms (
	ushard  {INT8} NOT NULL,
	user_id {TEXT} NOT NULL,
	room_id {TEXT} NOT NULL,
	PRIMARY KEY (ushard, user_id)
) {CLUSTERED};
