"""BM25 with parameters of one's own; tantivy has fixed ones.

The formula is tantivy's and Lucene's (https://en.wikipedia.org/wiki/Okapi_BM25), with the query's
own term frequencies saturated by `k3` (turbopuffer.com/docs/fts#advanced-tuning).
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bm25"]

_PREFIX_SCORE: Final = 1.0
"""Of a document with a token that begins as the last one of the query."""


class Bm25:
    """Scores by the ordinal of a document."""

    def __init__(
        self, documents: Iterable[Sequence[str]], *, k1: float, b: float, k3: float
    ) -> None:
        """Args:
        documents: the tokens of each.
        """
        self._k1, self._b, self._k3 = k1, b, k3
        self._ordinals: defaultdict[str, array[int]] = defaultdict(lambda: array("I"))
        self._frequencies: defaultdict[str, array[int]] = defaultdict(lambda: array("I"))
        lengths = array("I")
        for ordinal, tokens in enumerate(documents):
            lengths.append(len(tokens))
            for token, frequency in Counter(tokens).items():
                self._ordinals[token].append(ordinal)
                self._frequencies[token].append(frequency)
        self._lengths = np.asarray(lengths, dtype=np.float64)

    def scores(self, tokens: Sequence[str], *, last_as_prefix: bool) -> Mapping[int, float]:
        """Of every document that has any of the tokens."""
        if not len(self._lengths):
            return {}
        whole = tokens[:-1] if last_as_prefix else tokens
        scores = np.zeros(len(self._lengths))
        for token, frequency in Counter(whole).items():
            if token in self._ordinals:
                weight = (self._k3 + 1) * frequency / (self._k3 + frequency)
                scores[self._ordinals[token]] += weight * self._token_scores(token)
        if last_as_prefix and tokens:
            matching = [o for token, o in self._ordinals.items() if token.startswith(tokens[-1])]
            scores[np.unique(np.concatenate([*matching, array("I")]).astype(np.int64))] += (
                _PREFIX_SCORE
            )
        found = np.flatnonzero(scores)
        return dict(zip(found.tolist(), scores[found].tolist(), strict=True))

    def _token_scores(self, token: str) -> NDArray[np.float64]:
        """Of the documents that have it, in the order of their ordinals."""
        ordinals = self._ordinals[token]
        frequencies = np.asarray(self._frequencies[token], dtype=np.float64)
        count = len(self._lengths)
        idf = math.log(1 + (count - len(ordinals) + 0.5) / (len(ordinals) + 0.5))
        lengths = self._lengths[ordinals] / self._lengths.mean()
        saturation = self._k1 * (1 - self._b + self._b * lengths)
        scores: NDArray[np.float64] = (
            idf * (self._k1 + 1) * frequencies / (frequencies + saturation)
        )
        return scores
