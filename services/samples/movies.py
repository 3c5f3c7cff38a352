"""The namespace `movies`: 17,472 films from OMDb, as the `bokeh-sampledata` package ships them."""

from __future__ import annotations

import contextlib
import hashlib
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any, Final

import numpy as np
from turbopuffer import AsyncTurbopuffer

__all__ = ["NAMESPACE", "VECTOR_DIMENSIONS", "embed", "load_movies", "read_movies"]

NAMESPACE: Final = "movies"
VECTOR_DIMENSIONS: Final = 64
_BATCH_ROWS: Final = 2_000
_SCHEMA: Final[Mapping[str, Any]] = {
    "title": {"type": "string", "full_text_search": True, "filterable": True},
    "year": "int",
    "rating": "string",
    "runtime": "float",
    "imdb_rating": "float",
    "genres": "[]string",
    "directors": "[]string",
    "languages": "[]string",
    "countries": "[]string",
    "cast": "[]string",
    "vector": {"type": f"[{VECTOR_DIMENSIONS}]f32", "ann": True},
}
_COLUMNS: Final = (
    "SELECT ID, Title, Year, Rating, Runtime, imdbRating, Genre, Director, Language, Country, "
    '"Cast" FROM omdb ORDER BY ID'
)


async def load_movies(client: AsyncTurbopuffer) -> int:
    """Write all films to the namespace `movies`; how many.

    Raises:
        turbopuffer.APIError: a write failed after the client's own retries.
    """
    namespace = client.namespace(NAMESPACE)
    rows: list[Any] = list(read_movies())
    for start in range(0, len(rows), _BATCH_ROWS):
        await namespace.write(
            upsert_rows=rows[start : start + _BATCH_ROWS],
            distance_metric="cosine_distance",
            schema=dict(_SCHEMA),
        )
    return len(rows)


def read_movies() -> Iterator[dict[str, Any]]:
    """The films as rows, nulls left out."""
    source = resources.files("bokeh_sampledata") / "_data" / "movies.db"
    with resources.as_file(source) as path, contextlib.closing(sqlite3.connect(path)) as database:
        for film in database.execute(_COLUMNS):
            number, title, year, rating, runtime, imdb_rating, *lists = film
            genres, directors, languages, countries, cast = (_split(text) for text in lists)
            row = {
                "id": number,
                "title": title,
                "year": year,
                "rating": rating or None,
                "runtime": runtime,
                "imdb_rating": imdb_rating,
                "genres": genres,
                "directors": directors,
                "languages": languages,
                "countries": countries,
                "cast": cast,
                "vector": embed([title or "", *genres, *directors, *cast]),
            }
            yield {name: value for name, value in row.items() if value is not None}


def embed(texts: Sequence[str]) -> list[float]:
    """A unit vector by feature hashing: each word adds +1 or -1 to one dimension.

    It is deterministic and needs no model; films that share words are near each other.
    Source: Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009.
    """
    vector = np.zeros(VECTOR_DIMENSIONS, dtype=np.float32)
    for word in re.findall(r"\w+", " ".join(texts).lower()):
        digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
        sign = 1.0 if digest[0] & 1 else -1.0
        vector[int.from_bytes(digest[1:5], "big") % VECTOR_DIMENSIONS] += sign
    norm = float(np.linalg.norm(vector))
    return [round(float(x), 6) for x in (vector / norm if norm else vector)]


def _split(text: str | None) -> list[str]:
    """The elements of a comma-separated column."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]
