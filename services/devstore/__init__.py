"""The development upstream: a Turbopuffer-compatible store for one machine and for tests.

It keeps the wire shapes and the semantics that the services rely on, not the scale or the
availability. Never use it in production.
"""
