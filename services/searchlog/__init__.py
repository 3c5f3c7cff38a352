"""SearchLogService: what was searched and what came of it, kept in the object store."""
