"""DocumentService: documents by id, and what is fetched of them."""
