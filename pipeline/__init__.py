"""The verbs: how records become events and events reach the ledger."""
