"""The vector store that is searched: Turbopuffer, or the development store that speaks like it."""
