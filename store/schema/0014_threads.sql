-- Threads that users are subscribed to, or were, or said that they do not want. Written by push.
CREATE TABLE thread_subscriptions (
	ushard     {INT8} NOT NULL,
	user_id    {TEXT} NOT NULL,
	room_id    {TEXT} NOT NULL,
	thread     {TEXT} NOT NULL, -- id of the thread's root
	subscribed {INT8} NOT NULL,
	automatic  {INT8} NOT NULL, -- 1: a client subscribed by itself, since the user was mentioned
	ended_seq  {INT8} NOT NULL, -- the newest place of the room when the user unsubscribed last; 0: never
	pos        {INT8} NOT NULL, -- where the newest change came into the stream
	PRIMARY KEY (ushard, user_id, room_id, thread)
) {CLUSTERED};
CREATE INDEX thread_subscriptions_news ON thread_subscriptions (ushard, user_id, pos);
