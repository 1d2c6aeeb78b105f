-- Rooms, their events, order and state. A room's rows live in its shard: the low 8 bits of room_nid,
-- event_nid and snap_nid alike.

-- Which room has this id. Written by roomserver.
CREATE TABLE room_ids (
	room_id  {TEXT} PRIMARY KEY,
	room_nid {INT8} NOT NULL
) {CLUSTERED};

-- A room's head: what the next event builds on. Written by roomserver.
CREATE TABLE rooms (
	shard       {INT8} NOT NULL,
	room_nid    {INT8} NOT NULL,
	room_id     {TEXT} NOT NULL,
	version     {TEXT} NOT NULL,
	head_seq    {INT8} NOT NULL, -- seq of the newest timeline event
	head_pos    {INT8} NOT NULL, -- and its place in the stream
	depth       {INT8} NOT NULL, -- the greatest depth among the extremities
	extremities {BYTES} NOT NULL, -- varints: event nids that no event follows yet
	snap        {INT8} NOT NULL, -- the current state
	joined      {INT8} NOT NULL, -- members by membership
	invited     {INT8} NOT NULL,
	PRIMARY KEY (shard, room_nid)
) {CLUSTERED};

-- Which event has this id, for every id ever referenced. Written by roomserver.
CREATE TABLE event_ids (
	event_id  {TEXT} PRIMARY KEY,
	event_nid {INT8} NOT NULL,
	room_nid  {INT8} NOT NULL
) {CLUSTERED};

-- What is known of an event besides its bytes. Written by roomserver.
CREATE TABLE events (
	shard       {INT8} NOT NULL,
	event_nid   {INT8} NOT NULL,
	room_nid    {INT8} NOT NULL,
	event_id    {TEXT} NOT NULL,
	status      {INT8} NOT NULL, -- 1 outlier, 2 accepted, 3 soft-failed, 4 rejected
	tuple_nid   {INT8} NOT NULL, -- 0: not a state event
	snap_before {INT8} NOT NULL, -- 0: not known (outliers)
	auth_rank   {INT8} NOT NULL, -- 0 for the create event, else 1 + the greatest of its auth events
	prev        {BYTES} NOT NULL, -- varints: event nids
	auth        {BYTES} NOT NULL,
	redacted_by {INT8} NOT NULL, -- nid of the redaction that took effect, or 0
	seq         {INT8} NOT NULL, -- place in the timeline, where it is accepted
	txn_device  {TEXT} NOT NULL, -- the device of ours that sent it, with which transaction id; else empty
	txn_id      {TEXT} NOT NULL,
	PRIMARY KEY (shard, event_nid)
) {CLUSTERED};

-- The bytes of an event: canonical JSON with hashes and signatures. Written by roomserver.
CREATE TABLE event_json (
	shard     {INT8} NOT NULL,
	event_nid {INT8} NOT NULL,
	codec     {INT8} NOT NULL, -- 0 plain
	json      {BYTES} NOT NULL,
	PRIMARY KEY (shard, event_nid)
);

-- The events that clients may see, in the room's order. Written by roomserver.
CREATE TABLE timeline (
	shard     {INT8} NOT NULL,
	room_nid  {INT8} NOT NULL,
	seq       {INT8} NOT NULL,
	pos       {INT8} NOT NULL, -- 0: history, which is news to nobody
	event_nid {INT8} NOT NULL,
	snap      {INT8} NOT NULL, -- the room's current state once this event was there
	PRIMARY KEY (shard, room_nid, seq)
) {CLUSTERED};
CREATE INDEX timeline_pos ON timeline (pos);

-- Where the timeline jumps: events before seq are missing here. Written by roomserver.
CREATE TABLE room_gaps (
	shard    {INT8} NOT NULL,
	room_nid {INT8} NOT NULL,
	seq      {INT8} NOT NULL, -- of the first event after the gap
	missing  {BYTES} NOT NULL, -- varints: nids of the events before it that are not here
	PRIMARY KEY (shard, room_nid, seq)
) {CLUSTERED};

-- Interned (type, state key). Written by roomserver/state.
CREATE TABLE tuples (
	type      {TEXT} NOT NULL,
	state_key {TEXT} NOT NULL,
	tuple_nid {INT8} NOT NULL,
	PRIMARY KEY (type, state_key)
) {CLUSTERED};
CREATE INDEX tuples_nid ON tuples (tuple_nid);

-- States of rooms as cumulative deltas. Written by roomserver/state.
CREATE TABLE state_snapshots (
	shard    {INT8} NOT NULL,
	snap_nid {INT8} NOT NULL,
	room_nid {INT8} NOT NULL,
	anchor   {INT8} NOT NULL, -- the snapshot that the delta is against; 0: none, delta is the whole state
	level    {INT8} NOT NULL, -- 0, 1, 2: at most 32, 512, 8192 entries; 3: whole
	delta    {BYTES} NOT NULL,
	PRIMARY KEY (shard, snap_nid)
);

-- Who is or was in a room, by the current state. Written by roomserver.
CREATE TABLE members (
	shard      {INT8} NOT NULL,
	room_nid   {INT8} NOT NULL,
	user_id    {TEXT} NOT NULL,
	membership {TEXT} NOT NULL,
	event_nid  {INT8} NOT NULL,
	pos        {INT8} NOT NULL, -- where this membership began
	PRIMARY KEY (shard, room_nid, user_id)
) {CLUSTERED};
CREATE INDEX members_order ON members (shard, room_nid, membership, pos);

-- In which rooms a local user is or was. Written by roomserver.
CREATE TABLE user_rooms (
	ushard     {INT8} NOT NULL,
	user_id    {TEXT} NOT NULL,
	room_nid   {INT8} NOT NULL,
	room_id    {TEXT} NOT NULL,
	membership {TEXT} NOT NULL,
	sender     {TEXT} NOT NULL, -- of the member event
	event_nid  {INT8} NOT NULL,
	seq        {INT8} NOT NULL, -- of the member event in the room's timeline; 0: not in it
	pos        {INT8} NOT NULL, -- where this membership began
	forgotten  {INT8} NOT NULL, -- 1: the user does not want to see it any more
	stripped   {BYTES} NOT NULL, -- invites and knocks: the room's stripped state, a JSON list
	PRIMARY KEY (ushard, user_id, room_nid)
) {CLUSTERED};

-- Which servers have joined members in a room, and how many. Written by roomserver.
CREATE TABLE room_servers (
	shard    {INT8} NOT NULL,
	room_nid {INT8} NOT NULL,
	server   {TEXT} NOT NULL,
	joined   {INT8} NOT NULL,
	PRIMARY KEY (shard, room_nid, server)
) {CLUSTERED};

-- Answers to requests that a client may repeat. Written by roomserver.
CREATE TABLE client_txns (
	ushard    {INT8} NOT NULL,
	user_id   {TEXT} NOT NULL,
	device_id {TEXT} NOT NULL,
	scope     {TEXT} NOT NULL, -- the endpoint and its path, but for the transaction id
	txn_id    {TEXT} NOT NULL,
	event_id  {TEXT} NOT NULL,
	ts        {INT8} NOT NULL,
	PRIMARY KEY (ushard, user_id, device_id, scope, txn_id)
) {CLUSTERED};

-- Human-readable names of rooms on this server. Written by roomserver.
CREATE TABLE aliases (
	alias    {TEXT} PRIMARY KEY,
	room_nid {INT8} NOT NULL,
	room_id  {TEXT} NOT NULL,
	creator  {TEXT} NOT NULL
) {CLUSTERED};
CREATE INDEX aliases_room ON aliases (room_nid);

-- Rooms in this server's public directory. Written by roomserver.
CREATE TABLE published_rooms (
	room_nid {INT8} PRIMARY KEY,
	room_id  {TEXT} NOT NULL
) {CLUSTERED};
