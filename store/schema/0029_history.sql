-- History, and what waits for it.

-- Redactions of events that are not here yet. Written by roomserver.
CREATE TABLE awaited_redactions (
	shard     {INT8} NOT NULL,
	room_nid  {INT8} NOT NULL,
	target    {TEXT} NOT NULL, -- id of the event that is to be redacted
	event_nid {INT8} NOT NULL, -- of the redaction
	PRIMARY KEY (shard, room_nid, target, event_nid)
) {CLUSTERED};

-- Of the events that are missing at a gap, in the order of room_gaps.missing: a JSON list.
ALTER TABLE room_gaps ADD COLUMN ids {TEXT} NOT NULL DEFAULT '[]';
