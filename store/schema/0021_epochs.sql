-- What a data folder knows of the database, so that one that was put back is told. Written by e2ee.
ALTER TABLE key_epochs ADD COLUMN given {INT8} NOT NULL DEFAULT 0;  -- where a one-time key was given out last under this mark
ALTER TABLE key_epochs ADD COLUMN place {TEXT} NOT NULL DEFAULT ''; -- the birth of a file of the folder, of which a copy has another
