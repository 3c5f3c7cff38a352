"""BM25 and token search over one text attribute, in memory, by tantivy where its fixed
parameters are those that are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import tantivy

from services.devstore.bm25 import Bm25
from services.devstore.text_options import PRE_TOKENIZED, TextOptions

__all__ = ["TextIndex"]

_TEXT: Final = "text"
_ORDINAL: Final = "ordinal"
_ANALYZER: Final = "attribute"
_HEAP_BYTES: Final = 50_000_000
_SPECIAL: Final = frozenset(r"\.+*?()|[]{}^$#&-~")


class TextIndex:
    """An index of texts by document id; it is made anew when the namespace was written to."""

    def __init__(
        self, options: TextOptions, texts: Iterable[tuple[Any, str | Sequence[str]]]
    ) -> None:
        self._analyzer = options.analyzer()
        self.takes_tokens = options.tokenizer == PRE_TOKENIZED
        """Whether queries are lists of tokens, and never texts."""
        builder = tantivy.SchemaBuilder()
        builder.add_text_field(_TEXT, tokenizer_name=_ANALYZER)
        builder.add_unsigned_field(_ORDINAL, stored=True)
        self._index = tantivy.Index(builder.build())
        self._index.register_tokenizer(_ANALYZER, self._analyzer)
        self._ids: list[Any] = []
        own: list[list[str]] | None = None if options.has_fixed_bm25 else []
        writer = self._index.writer(heap_size=_HEAP_BYTES, num_threads=1)
        for identity, text in texts:
            document = tantivy.Document()
            elements = [text] if isinstance(text, str) else text
            for each in elements:
                document.add_text(_TEXT, each)
            if own is not None:
                own.append([token for each in elements for token in self._analyzer.analyze(each)])
            document.add_unsigned(_ORDINAL, len(self._ids))
            self._ids.append(identity)
            writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()
        self._bm25 = None if own is None else Bm25(own, k1=options.k1, b=options.b, k3=options.k3)

    def tokens(self, query: str | Sequence[str]) -> list[str]:
        """The tokens of a query; an array's elements are tokens already if the attribute's are."""
        if not isinstance(query, str):
            if self.takes_tokens:
                return list(query)
            query = " ".join(query)
        return list(self._analyzer.analyze(query))

    def scores(self, query: str | Sequence[str], *, last_as_prefix: bool) -> Mapping[Any, float]:
        """BM25 scores of every document that has any of the query's tokens."""
        tokens = self.tokens(query)
        if self._bm25 is not None:
            scores = self._bm25.scores(tokens, last_as_prefix=last_as_prefix)
            return {self._ids[ordinal]: score for ordinal, score in scores.items()}
        return self._search(self._any_token(tokens, last_as_prefix=last_as_prefix))

    def containing(
        self, operator: str, query: str | Sequence[str], *, last_as_prefix: bool
    ) -> list[Any]:
        """The documents that match `ContainsAllTokens`, `ContainsAnyToken` or
        `ContainsTokenSequence`. A query without tokens asks for nothing: all of none, any of
        none."""
        tokens = self.tokens(query)
        if not tokens:
            return [] if operator == "ContainsAnyToken" else list(self._ids)
        if operator == "ContainsAnyToken":
            wanted = self._any_token(tokens, last_as_prefix=last_as_prefix)
        elif operator == "ContainsTokenSequence" and len(tokens) > 1:
            wanted = tantivy.Query.phrase_query(self._index.schema, _TEXT, [*tokens])
        else:
            parts = self._terms(tokens, last_as_prefix=last_as_prefix)
            wanted = tantivy.Query.boolean_query([(tantivy.Occur.Must, part) for part in parts])
        return list(self._search(wanted))

    def _terms(self, tokens: Sequence[str], *, last_as_prefix: bool) -> list[tantivy.Query]:
        schema = self._index.schema
        parts = [tantivy.Query.term_query(schema, _TEXT, token) for token in tokens]
        if last_as_prefix and parts:
            pattern = "".join(f"\\{c}" if c in _SPECIAL else c for c in tokens[-1]) + ".*"
            parts[-1] = tantivy.Query.regex_query(schema, _TEXT, pattern)
        return parts

    def _any_token(self, tokens: Sequence[str], *, last_as_prefix: bool) -> tantivy.Query:
        parts = self._terms(tokens, last_as_prefix=last_as_prefix)
        return tantivy.Query.boolean_query([(tantivy.Occur.Should, part) for part in parts])

    def _search(self, wanted: tantivy.Query) -> Mapping[Any, float]:
        searcher = self._index.searcher()
        if not searcher.num_docs:
            return {}
        found = searcher.search(wanted, searcher.num_docs)
        return {
            self._ids[searcher.doc(address)[_ORDINAL][0]]: score for score, address in found.hits
        }
