-- Which files the events of rooms show, as far as they are not encrypted. Written by media.
CREATE TABLE media_refs (
	origin    {TEXT} NOT NULL,
	media_id  {TEXT} NOT NULL,
	event_nid {INT8} NOT NULL,
	PRIMARY KEY (origin, media_id, event_nid)
) {CLUSTERED};
CREATE INDEX media_refs_event ON media_refs (event_nid);
