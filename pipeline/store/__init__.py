"""The store: what the pipeline remembers, one file of SQL verbs for each table."""
