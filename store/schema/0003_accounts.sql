-- Accounts, written by package account. Every table of a user's own things begins its key with
-- ushard, the user's place among the 256 shards, so that a distributed database keeps them together.

-- users: the accounts of this server. A row is never deleted, so that a name is never given twice.
-- password_hash is empty where no password can log in. Times are milliseconds, 0 for never.
CREATE TABLE users (
  ushard         {INT8} NOT NULL,
  user_id        {TEXT} NOT NULL,
  kind           {INT8} NOT NULL,            -- 0 user, 1 guest, 2 user of an application service
  password_hash  {TEXT} NOT NULL DEFAULT '',
  admin          {INT8} NOT NULL DEFAULT 0,
  locked         {INT8} NOT NULL DEFAULT 0,
  suspended      {INT8} NOT NULL DEFAULT 0,
  created_ts     {INT8} NOT NULL,
  deactivated_ts {INT8} NOT NULL DEFAULT 0,
  erased         {INT8} NOT NULL DEFAULT 0,
  appservice_id  {TEXT} NOT NULL DEFAULT '',
  PRIMARY KEY (ushard, user_id)
);

-- devices: the sessions of a user. last_seen is minutes late on purpose.
CREATE TABLE devices (
  ushard          {INT8} NOT NULL,
  user_id         {TEXT} NOT NULL,
  device_id       {TEXT} NOT NULL,
  display_name    {TEXT} NOT NULL DEFAULT '',
  created_ts      {INT8} NOT NULL,
  last_seen_ts    {INT8} NOT NULL DEFAULT 0,
  last_seen_ip    {TEXT} NOT NULL DEFAULT '',
  last_seen_agent {TEXT} NOT NULL DEFAULT '',
  PRIMARY KEY (ushard, user_id, device_id)
);

-- tokens: access and refresh tokens, by their SHA-256. A token names its shard, so that it is found
-- in one. Tokens are issued as pairs; prior names the pair that this one replaces, until it is used.
CREATE TABLE tokens (
  ushard     {INT8}  NOT NULL,
  hash       {BYTES} NOT NULL,
  kind       {INT8}  NOT NULL,               -- 0 access, 1 refresh
  user_id    {TEXT}  NOT NULL,
  device_id  {TEXT}  NOT NULL,
  pair       {TEXT}  NOT NULL,
  prior      {TEXT}  NOT NULL DEFAULT '',
  created_ts {INT8}  NOT NULL,
  expires_ts {INT8}  NOT NULL DEFAULT 0,
  PRIMARY KEY (ushard, hash)
);
CREATE INDEX tokens_of_device ON tokens (ushard, user_id, device_id);

-- uia_sessions: user-interactive authentications under way. Not sharded: small, short-lived, and
-- looked up by nothing but the whole key.
CREATE TABLE uia_sessions (
  session_id {TEXT}  NOT NULL PRIMARY KEY,
  endpoint   {TEXT}  NOT NULL,               -- method, path and caller: never changes
  body_hash  {BYTES} NOT NULL,               -- of the request without its secrets
  user_id    {TEXT}  NOT NULL DEFAULT '',    -- whom a stage has proven, where nobody was logged in
  completed  {TEXT}  NOT NULL DEFAULT '',    -- stages, separated by spaces
  reg_token  {TEXT}  NOT NULL DEFAULT '',    -- the registration token that was shown
  expires_ts {INT8}  NOT NULL
);
CREATE INDEX uia_sessions_by_end ON uia_sessions (expires_ts);

-- registration_tokens: what lets people register. Not sharded: a small lookup table.
CREATE TABLE registration_tokens (
  token        {TEXT} NOT NULL PRIMARY KEY,
  uses_allowed {INT8} NOT NULL DEFAULT -1,   -- -1: any number
  uses_done    {INT8} NOT NULL DEFAULT 0,
  created_ts   {INT8} NOT NULL,
  expires_ts   {INT8} NOT NULL DEFAULT 0
);

-- profiles: one JSON object a user, with all fields.
CREATE TABLE profiles (
  ushard  {INT8}  NOT NULL,
  user_id {TEXT}  NOT NULL,
  fields  {BYTES} NOT NULL,
  PRIMARY KEY (ushard, user_id)
);

-- account_data: global (room_id is empty) and per room. Tags are the type m.tag.
CREATE TABLE account_data (
  ushard  {INT8}  NOT NULL,
  user_id {TEXT}  NOT NULL,
  room_id {TEXT}  NOT NULL,
  type    {TEXT}  NOT NULL,
  content {BYTES} NOT NULL,
  pos     {INT8}  NOT NULL,
  PRIMARY KEY (ushard, user_id, room_id, type)
);
CREATE INDEX account_data_by_pos ON account_data (ushard, user_id, pos);

-- filters: stored once for each content; the id is made from it.
CREATE TABLE filters (
  ushard    {INT8}  NOT NULL,
  user_id   {TEXT}  NOT NULL,
  filter_id {TEXT}  NOT NULL,
  content   {BYTES} NOT NULL,
  PRIMARY KEY (ushard, user_id, filter_id)
);

-- openid_tokens: by which users prove to third parties who they are. Written by account.
CREATE TABLE openid_tokens (
  ushard     {INT8}  NOT NULL,
  token_hash {BYTES} NOT NULL,
  user_id    {TEXT}  NOT NULL,
  expires_ts {INT8}  NOT NULL,
  PRIMARY KEY (ushard, token_hash)
) {CLUSTERED};
CREATE INDEX openid_tokens_expiry ON openid_tokens (expires_ts);
