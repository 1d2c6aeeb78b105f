-- How far application services have been told. Written by appservice.
CREATE TABLE appservice_progress (
	service_id  {TEXT} PRIMARY KEY,
	sent_pos    {INT8} NOT NULL, -- up to here the service has taken everything
	pending_pos {INT8} NOT NULL  -- up to here goes the transaction that it may have taken
) {CLUSTERED};
