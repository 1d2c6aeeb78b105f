-- What application services have yet to be told of memberships that no timeline tells of, such as invites to rooms
-- that this server is not in. Written by appservice.
CREATE TABLE appservice_outside (
	service_id {TEXT} NOT NULL,
	pos        {INT8} NOT NULL, -- the place in the stream
	event      {BYTES} NOT NULL, -- as the service is told it
	PRIMARY KEY (service_id, pos)
) {CLUSTERED};
