"""Adapters chosen by settings: the one place that imports the vendors' sides."""
