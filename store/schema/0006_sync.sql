-- What /sync asks of the rooms' tables. It has no tables of its own.

-- Which memberships of a user are new to a client.
CREATE INDEX user_rooms_news ON user_rooms (ushard, user_id, pos);
