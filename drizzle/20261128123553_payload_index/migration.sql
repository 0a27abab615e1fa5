-- What new events add to the index waits in a list, and the statement that fills it works it all off. At 4 MB, the usual limit, that took the embedded database
-- most of a second after a few events with very many values, during which nothing else was stored.
ALTER INDEX attune.event_payload_idx SET (gin_pending_list_limit = 1024);
