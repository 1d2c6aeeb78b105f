-- What stands in a document, as terms. It keeps no text and no positions. Written by search.
CREATE VIRTUAL TABLE search_terms USING fts5(terms, content='', contentless_delete=1, detail=none, tokenize='ascii');
