"""Envoy: its settings, its rendered configuration, its process."""
