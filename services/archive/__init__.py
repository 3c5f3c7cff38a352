"""The snapshots that were taken: written by one service, read by another."""
