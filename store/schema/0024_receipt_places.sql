-- A room that comes into view has the receipts of the newest events told, and no others.
CREATE INDEX receipts_place ON receipts (shard, room_nid, seq);
