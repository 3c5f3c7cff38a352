"""BM25 over one text attribute, by tantivy, in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import tantivy

from services.devstore.filters import words

__all__ = ["TextIndex"]

_TEXT = "text"
_ROW = "row"


class TextIndex:
    """An index of texts by row number; it is made anew when the namespace was written to."""

    def __init__(self, texts: Iterable[tuple[int, str]]) -> None:
        builder = tantivy.SchemaBuilder()
        builder.add_text_field(_TEXT, tokenizer_name="default")
        builder.add_unsigned_field(_ROW, stored=True)
        self._index = tantivy.Index(builder.build())
        writer = self._index.writer(heap_size=50_000_000, num_threads=1)
        for row, text in texts:
            document = tantivy.Document()
            document.add_text(_TEXT, text)
            document.add_unsigned(_ROW, row)
            writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()

    def search(self, query: str | Sequence[str], *, last_as_prefix: bool) -> Mapping[int, float]:
        """Scores of every row that has any of the query's words."""
        terms = words(query if isinstance(query, str) else " ".join(query))
        searcher = self._index.searcher()
        if not terms or searcher.num_docs == 0:
            return {}
        schema = self._index.schema
        parts = [
            (tantivy.Occur.Should, tantivy.Query.term_query(schema, _TEXT, term)) for term in terms
        ]
        if last_as_prefix:
            prefix = tantivy.Query.regex_query(schema, _TEXT, f"{terms[-1]}.*")
            parts[-1] = (tantivy.Occur.Should, prefix)
        found = searcher.search(tantivy.Query.boolean_query(parts), searcher.num_docs)
        return {searcher.doc(address)[_ROW][0]: score for score, address in found.hits}
