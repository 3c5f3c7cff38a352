"""Logs, traces and metrics. Providers are built and handed over, never set as globals."""
