-- Made once the first load has written its rows, which takes half the time of keeping them up to date meanwhile.
ALTER TABLE {history} ADD PRIMARY KEY ({key}, valid_from);

CREATE INDEX ON {history} (valid_from, load_id);
