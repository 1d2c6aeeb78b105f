-- How far application services have been told. Written by appservice.
CREATE TABLE appservice_progress (
	service_id  {TEXT} PRIMARY KEY,
	sent_pos    {INT8} NOT NULL, -- up to here the service has taken everything
	pending_pos {INT8} NOT NULL  -- up to here goes the transaction that it may have taken
) {CLUSTERED};

-- The rooms that application services show in the directories of their networks. Written by appservice.
CREATE TABLE network_rooms (
	instance {TEXT} NOT NULL, -- id of the service, a bar, and the id of the network
	room_id  {TEXT} NOT NULL,
	PRIMARY KEY (instance, room_id)
) {CLUSTERED};
