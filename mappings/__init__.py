"""The language between a CRM's words and ours, as values only, and one shipped table for each source."""
