-- Keys of users and devices, messages to devices, key backups. All tables here are written by e2ee.

-- The identity keys of a device, as it uploaded them. Written by e2ee.
CREATE TABLE device_keys (
	ushard    {INT8}  NOT NULL,
	user_id   {TEXT}  NOT NULL,
	device_id {TEXT}  NOT NULL,
	keys      {BYTES} NOT NULL, -- canonical JSON without unsigned
	signed    {INT8}  NOT NULL, -- 1: signed by the device itself, and so its identity for ever
	PRIMARY KEY (ushard, user_id, device_id)
);

-- One-time keys. One that was given out stays for a while, marked, so that a client that uploads it once
-- more does not bring it back. Written by e2ee.
CREATE TABLE one_time_keys (
	ushard    {INT8}  NOT NULL,
	user_id   {TEXT}  NOT NULL,
	device_id {TEXT}  NOT NULL,
	algorithm {TEXT}  NOT NULL,
	key_id    {TEXT}  NOT NULL,
	key_json  {BYTES} NOT NULL, -- canonical JSON
	seq       {INT8}  NOT NULL, -- the position at which it was uploaded: the order in which keys are given out
	claimed   {INT8}  NOT NULL, -- milliseconds; 0: still to be given out
	PRIMARY KEY (ushard, user_id, device_id, algorithm, key_id)
);
CREATE INDEX one_time_keys_order ON one_time_keys (ushard, user_id, device_id, algorithm, claimed, seq);

-- What is given out where one-time keys have run out: one key for each algorithm. Written by e2ee.
CREATE TABLE fallback_keys (
	ushard    {INT8}  NOT NULL,
	user_id   {TEXT}  NOT NULL,
	device_id {TEXT}  NOT NULL,
	algorithm {TEXT}  NOT NULL,
	key_id    {TEXT}  NOT NULL,
	key_json  {BYTES} NOT NULL,
	used      {INT8}  NOT NULL, -- 1: it was given out
	PRIMARY KEY (ushard, user_id, device_id, algorithm)
);

-- Where in the stream a user's one-time or fallback keys, or the signatures that only they see, changed
-- last. Written by e2ee.
CREATE TABLE key_news (
	ushard  {INT8} NOT NULL,
	user_id {TEXT} NOT NULL,
	pos     {INT8} NOT NULL,
	PRIMARY KEY (ushard, user_id)
) {CLUSTERED};
CREATE INDEX key_news_pos ON key_news (pos);

-- Where in the stream the list of a user's devices, or their cross-signing keys, changed last. Written by e2ee.
CREATE TABLE device_lists (
	ushard  {INT8} NOT NULL,
	user_id {TEXT} NOT NULL,
	pos     {INT8} NOT NULL,
	PRIMARY KEY (ushard, user_id)
) {CLUSTERED};
CREATE INDEX device_lists_pos ON device_lists (pos);

-- A user's cross-signing keys. Written by e2ee.
CREATE TABLE cross_signing_keys (
	ushard     {INT8}  NOT NULL,
	user_id    {TEXT}  NOT NULL,
	usage      {TEXT}  NOT NULL, -- master, self_signing or user_signing
	public_key {TEXT}  NOT NULL, -- unpadded base64
	key_json   {BYTES} NOT NULL, -- canonical JSON, as it was uploaded
	PRIMARY KEY (ushard, user_id, usage)
);

-- Signatures that were made later than the key that they sign, by their signer. Written by e2ee.
CREATE TABLE key_signatures (
	ushard      {INT8} NOT NULL, -- of the signer
	user_id     {TEXT} NOT NULL, -- the signer
	signing_key {TEXT} NOT NULL, -- key id: algorithm:name
	target      {TEXT} NOT NULL, -- whose key is signed
	target_key  {TEXT} NOT NULL, -- a device id, or a master key's public key
	signature   {TEXT} NOT NULL,
	pos         {INT8} NOT NULL, -- when it came
	PRIMARY KEY (ushard, user_id, target, target_key, signing_key)
);

-- Messages to devices that their clients have not got yet. Written by e2ee.
CREATE TABLE to_device (
	ushard    {INT8}  NOT NULL,
	user_id   {TEXT}  NOT NULL,
	device_id {TEXT}  NOT NULL,
	pos       {INT8}  NOT NULL, -- place in the stream, and so in the queue
	message   {BYTES} NOT NULL, -- as clients see it
	PRIMARY KEY (ushard, user_id, device_id, pos)
);
CREATE INDEX to_device_pos ON to_device (pos);

-- Transactions of devices that sent messages to devices, so that a repeated one is not delivered again. Written by e2ee.
CREATE TABLE to_device_txns (
	ushard     {INT8} NOT NULL,
	user_id    {TEXT} NOT NULL,
	device_id  {TEXT} NOT NULL,
	event_type {TEXT} NOT NULL,
	txn_id     {TEXT} NOT NULL,
	ts         {INT8} NOT NULL, -- milliseconds
	PRIMARY KEY (ushard, user_id, device_id, event_type, txn_id)
) {CLUSTERED};
CREATE INDEX to_device_txns_ts ON to_device_txns (ts);

-- Versions of users' key backups. A deleted one stays as a row, so that its number is not given again. Written by e2ee.
CREATE TABLE key_backups (
	ushard    {INT8}  NOT NULL,
	user_id   {TEXT}  NOT NULL,
	version   {INT8}  NOT NULL,
	algorithm {TEXT}  NOT NULL,
	auth_data {BYTES} NOT NULL,
	etag      {INT8}  NOT NULL, -- +1 with each change of its keys
	keys      {INT8}  NOT NULL, -- how many it has
	deleted   {INT8}  NOT NULL,
	PRIMARY KEY (ushard, user_id, version)
);

-- The keys of room sessions in backups, encrypted by their clients. Written by e2ee.
CREATE TABLE backup_keys (
	ushard     {INT8}  NOT NULL,
	user_id    {TEXT}  NOT NULL,
	version    {INT8}  NOT NULL,
	room_id    {TEXT}  NOT NULL,
	session_id {TEXT}  NOT NULL,
	verified   {INT8}  NOT NULL,
	first_index {INT8} NOT NULL,
	forwarded  {INT8}  NOT NULL,
	session    {BYTES} NOT NULL,
	PRIMARY KEY (ushard, user_id, version, room_id, session_id)
);

-- The device that takes messages while none of a user's clients is logged in. Written by e2ee.
CREATE TABLE dehydrated_devices (
	ushard    {INT8}  NOT NULL,
	user_id   {TEXT}  NOT NULL,
	device_id {TEXT}  NOT NULL,
	device    {BYTES} NOT NULL, -- encrypted by the client
	PRIMARY KEY (ushard, user_id)
);

-- Marks that this database has had. A data folder that knows one that is not here tells that the database
-- was restored from a backup. Written by e2ee.
CREATE TABLE key_epochs (
	epoch {TEXT} PRIMARY KEY,
	ts    {INT8} NOT NULL -- milliseconds
) {CLUSTERED};

-- Whose membership of which room began between two positions.
CREATE INDEX members_news ON members (pos);
