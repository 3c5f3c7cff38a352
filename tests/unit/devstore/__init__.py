"""The development upstream."""
