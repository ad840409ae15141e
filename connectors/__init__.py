"""Sources: every folder here is one, every file is kit they share."""
