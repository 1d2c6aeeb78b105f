-- What stands in events, and in names, as terms, by doc_id. No text is kept, and no positions. Written by search.
CREATE VIRTUAL TABLE search_terms USING fts5(terms, content='', contentless_delete=1, detail=none, tokenize='ascii');
CREATE VIRTUAL TABLE search_name_terms USING fts5(terms, content='', contentless_delete=1, detail=none, tokenize='ascii');
