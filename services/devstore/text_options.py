"""How a full-text attribute is split into tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final

import msgspec
import tantivy

from services.devstore.errors import DevstoreError

__all__ = ["PRE_TOKENIZED", "TextOptions", "text_options"]

PRE_TOKENIZED: Final = "pre_tokenized_array"


_FIXED_BM25: Final = (1.2, 0.75, 8.0)
"""tantivy's `k1` and `b`, and the default of `k3`, which it does not know: a query that repeats a
token is scored as if the token were asked for so many times."""


@dataclass(frozen=True)
class TextOptions:
    """The options of `full_text_search` (turbopuffer.com/docs/write#schema). All the tokenizers of
    words are one here."""

    tokenizer: str = "word_v4"
    case_sensitive: bool = False
    language: str = "english"
    stemming: bool = False
    remove_stopwords: bool = False
    ascii_folding: bool = False
    max_token_length: Annotated[int, msgspec.Meta(ge=1, le=254)] = 39
    k1: Annotated[float, msgspec.Meta(gt=0)] = 1.2
    b: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.75
    k3: Annotated[float, msgspec.Meta(gt=0)] = 8.0

    @property
    def has_fixed_bm25(self) -> bool:
        """Whether tantivy's scores are those that are asked for."""
        return (self.k1, self.b, self.k3) == _FIXED_BM25

    def describe(self) -> dict[str, Any]:
        """As the metadata route shows it."""
        return asdict(self)

    def analyzer(self) -> tantivy.TextAnalyzer:
        """What makes tokens of a text.

        Raises:
            ValueError: the language is unknown.
        """
        if self.tokenizer == PRE_TOKENIZED:
            return tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw()).build()
        filters = [tantivy.Filter.remove_long(self.max_token_length + 1)]
        if not self.case_sensitive:
            filters.append(tantivy.Filter.lowercase())
        if self.ascii_folding:
            filters.append(tantivy.Filter.ascii_fold())
        if self.remove_stopwords:
            filters.append(tantivy.Filter.stopword(self.language))
        if self.stemming:
            filters.append(tantivy.Filter.stemmer(self.language))
        builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
        for each in filters:
            builder = builder.filter(each)
        return builder.build()


def text_options(name: str, type_name: str, declared: object) -> TextOptions | None:
    """What `full_text_search` of an attribute asks for; None switches it off.

    Raises:
        DevstoreError: 400, unknown options or a type that has no text.
    """
    if not declared and not isinstance(declared, Mapping):
        return None
    if type_name not in ("string", "[]string"):
        raise DevstoreError.bad_request(
            f"full_text_search on attribute {name!r} needs string or []string, not {type_name}"
        )
    given = declared if isinstance(declared, Mapping) else {}
    known = TextOptions.__dataclass_fields__
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise DevstoreError.bad_request(f"unknown full_text_search option {unknown[0]!r}")
    try:
        options = msgspec.convert(
            {key: value for key, value in given.items() if value is not None}, TextOptions
        )
        options.analyzer()
    except (msgspec.ValidationError, ValueError) as error:
        raise DevstoreError.bad_request(
            f"invalid full_text_search on attribute {name!r}: {error}"
        ) from None
    if options.tokenizer == PRE_TOKENIZED and type_name != "[]string":
        raise DevstoreError.bad_request(
            f"attribute {name!r}: the tokenizer {PRE_TOKENIZED} needs []string, not {type_name}"
        )
    return options
