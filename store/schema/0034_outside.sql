-- Memberships in rooms that this server is not in: the server by which an invite came or a knock went.
ALTER TABLE user_rooms ADD COLUMN via {TEXT} NOT NULL DEFAULT '';
