"""SnapshotService: jobs that count facets, and the writer that follows a policy."""
