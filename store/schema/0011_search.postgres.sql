-- What stands in events, as terms. Written by search.
CREATE TABLE search_terms (
	doc_id {INT8} PRIMARY KEY,
	terms  TSVECTOR NOT NULL
);
CREATE INDEX search_terms_gin ON search_terms USING gin (terms);

-- What stands in names, as terms. Written by search.
CREATE TABLE search_name_terms (
	doc_id {INT8} PRIMARY KEY,
	terms  TSVECTOR NOT NULL
);
CREATE INDEX search_name_terms_gin ON search_name_terms USING gin (terms);
