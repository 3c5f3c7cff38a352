"""The object store: one interface, several backends, wrappers of one concern each."""
