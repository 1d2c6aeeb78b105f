-- What /sync asks of other packages' tables. It has no tables of its own.

-- Whose memberships, and whose account data, changed between two positions.
CREATE INDEX user_rooms_news ON user_rooms (pos);
CREATE INDEX account_data_news ON account_data (pos);
