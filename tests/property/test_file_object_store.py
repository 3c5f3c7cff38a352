"""The file store against a dict, with names chosen to sort and encode badly."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from services.storage.files import FileObjectStore

# '-' and '.' sort before '/', '0' after it; `.d` and `~` are what folders' names are made of.
SEGMENTS = st.sampled_from(
    ["a", "a-", "a.", "a0", "a.d", "a.d~", "a.d~~", "a~", ".d", "~", "b", "é", "\U0001f600"]
)
KEYS = st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join)
# Keys, and texts that end anywhere in one, as prefixes and starts do.
TEXTS = st.one_of(
    st.just(""),
    KEYS,
    KEYS.map(lambda key: key + "/"),
    st.tuples(KEYS, st.integers(0, 8)).map(lambda pair: pair[0][: pair[1]]),
)


class FileStoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, bytes] = {}
        self.runner = asyncio.Runner()
        # In memory where there is such a folder: an fsync a step is slow on a disk.
        shm = Path("/dev/shm")
        self.root = Path(tempfile.mkdtemp(dir=shm if shm.is_dir() else None))
        self.store = FileObjectStore(self.root, threads=1)
        self.runner.run(self.store.open())

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()
        shutil.rmtree(self.root)

    @rule(key=KEYS, body=st.binary(max_size=3))
    def put(self, key: str, body: bytes) -> None:
        assert self.runner.run(self.store.put(key, body)) is True
        self.model[key] = body

    @rule(key=KEYS, body=st.binary(max_size=3))
    def put_if_absent(self, key: str, body: bytes) -> None:
        written = self.runner.run(self.store.put(key, body, if_absent=True))
        assert written is (key not in self.model)
        self.model.setdefault(key, body)

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        assert self.runner.run(self.store.get(key)) == self.model.get(key)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def delete_some(self, data: st.DataObject) -> None:
        keys = data.draw(st.lists(st.sampled_from(sorted(self.model)), max_size=4))
        keys.append(data.draw(KEYS))
        self.runner.run(self.store.delete(keys))
        for key in keys:
            self.model.pop(key, None)

    @rule(prefix=TEXTS, start_after=TEXTS, limit=st.integers(1, 6))
    def list_page(self, prefix: str, start_after: str, limit: int) -> None:
        expected = sorted(
            (key for key in self.model if key.startswith(prefix) and key > start_after),
            key=str.encode,
        )
        page = self.runner.run(self.store.list(prefix, start_after=start_after, limit=limit))
        assert list(page) == expected[:limit]

    @rule(folder=st.one_of(st.just(""), KEYS.map(lambda key: key + "/")))
    def list_children(self, folder: str) -> None:
        below = (key[len(folder) :] for key in self.model if key.startswith(folder))
        expected = sorted({rest.partition("/")[0] for rest in below}, key=str.encode)
        assert list(self.runner.run(self.store.list_children(folder))) == expected

    @rule()
    def reopen(self) -> None:
        self.runner.run(self.store.close())
        self.runner.run(self.store.open())


TestFileStore = FileStoreMachine.TestCase
TestFileStore.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
