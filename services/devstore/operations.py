"""Copies that are started and asked about later
(turbopuffer.com/docs/api-overview#asynchronous-requests)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from services.core.ids import IdGenerator
from services.devstore.errors import DevstoreError

__all__ = ["Operations"]

_KEPT: Final = 1000


class Operations:
    """The newest ones, in memory. All of them are finished: this store copies at once."""

    def __init__(self, new_id: IdGenerator) -> None:
        self._new_id = new_id
        self._finished: OrderedDict[tuple[str, str], dict[str, Any]] = OrderedDict()

    def succeeded(self, namespace: str, time: str, answer: Mapping[str, Any]) -> str:
        """Remember what a synchronous call would have answered; its token."""
        return self._keep(namespace, time, {"success": answer})

    def failed(self, namespace: str, time: str, error: DevstoreError) -> str:
        """Remember how a synchronous call would have failed; its token."""
        detail = {"status_code": error.status, "detail": error.body()}
        return self._keep(namespace, time, {"error": detail})

    def get(self, namespace: str, token: str) -> Mapping[str, Any]:
        """The answer to a poll.

        Raises:
            DevstoreError: 404, no such operation of that namespace.
        """
        try:
            return self._finished[namespace, token]
        except KeyError:
            raise DevstoreError(404, f"operation '{token}' was not found") from None

    def _keep(self, namespace: str, time: str, result: Mapping[str, Any]) -> str:
        token = f"tpuf-{self._new_id()}"
        self._finished[namespace, token] = {
            "status": "finished",
            "start_time": time,
            "finish_time": time,
            "result": result,
        }
        if len(self._finished) > _KEPT:
            self._finished.popitem(last=False)
        return token
