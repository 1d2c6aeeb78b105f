-- Memberships in rooms that this server is not in: the server by which an invite came or a knock went, and the
-- version of the room.
ALTER TABLE user_rooms ADD COLUMN via {TEXT} NOT NULL DEFAULT '';
ALTER TABLE user_rooms ADD COLUMN room_version {TEXT} NOT NULL DEFAULT '';
