"""HistoryService: reads the snapshots that were taken."""
