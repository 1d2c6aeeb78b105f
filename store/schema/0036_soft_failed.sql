-- What the rooms did not take, by room: moderators redact it with the rest of what a user has sent.
CREATE INDEX events_soft_failed ON events (shard, room_nid, event_nid) WHERE status = 3;
