-- What /sync asks of other packages' tables. It has no tables of its own.

-- Whose memberships, account data and push rules changed between two positions.
CREATE INDEX user_rooms_news ON user_rooms (pos);
CREATE INDEX account_data_news ON account_data (pos);
CREATE INDEX push_rules_news ON push_rules (pos);
