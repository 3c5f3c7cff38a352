"""The cache: copies only. Everything in it can vanish at any moment and only latency changes."""
