"""What SearchLogService takes from the environment."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from services.core.durations import parse_duration
from services.edge.settings import Port
from services.searchlog.batch import FlushRules
from services.searchlog.spool import SpoolLimits
from services.searchlog.writer import WriterLimits
from services.wiring.stores import StoreSettings

__all__ = ["SearchLogSettings"]

_MEBIBYTE = 1024**2
_NEVER = "never"


class SearchLogSettings(StoreSettings):
    """SearchLogService's settings."""

    searchlog_port: Port = Field(8083, description="Port of SearchLogService.")
    spool_dir: Path = Field(
        Path(".layer/spool"),
        description="Folder on a local disk for entries that are not in the object store yet; "
        "each process needs its own, and finds it again after a restart.",
    )
    spool_mebibytes: int = Field(
        4096, ge=1, description="Size of the spool; past it new entries are dropped and counted."
    )
    searchlog_memory_mebibytes: int = Field(
        128, ge=8, description="Entries held in memory; more wait in the spool alone."
    )
    writer_id: Annotated[int, Field(ge=0, le=999)] | None = Field(
        None,
        description="Last three digits of this process's timestamps, 0 to 999, different in "
        "each replica; unset: from the host's name and the port.",
    )
    flush_max_bytes: int = Field(
        4 * _MEBIBYTE, ge=1024, le=64 * _MEBIBYTE, description="Size at which a batch is written."
    )
    flush_max_entries: int = Field(
        5_000, ge=1, le=100_000, description="Entries at which a batch is written."
    )
    flush_brisk_seconds: float = Field(
        1.0, gt=0, le=60, description="Age at which a busy namespace's batch is written."
    )
    flush_brisk_entries: int = Field(
        100, ge=1, description="Waiting entries that make a namespace busy."
    )
    flush_linger_seconds: float = Field(
        15.0, gt=0, le=60, description="Age at which any batch is written."
    )
    searchlog_puts: int = Field(8, ge=1, le=256, description="Objects written at the same time.")
    searchlog_close_seconds: float = Field(
        10.0, ge=0, le=300, description="Time to write what waits at shutdown; the rest is spooled."
    )

    search_history_retention: str = Field(
        "never",
        description="Age at which whole UTC days of search history and clickstream are deleted, "
        "such as `90d`; `never` keeps them.",
    )

    @field_validator("search_history_retention")
    @classmethod
    def _check_retention(cls, text: str) -> str:
        if text != _NEVER and parse_duration(text) == 0:
            raise ValueError("a window of no length keeps nothing: use never, or 1d")
        return text

    @property
    def retention_ms(self) -> int | None:
        """The window; None keeps everything."""
        text = self.search_history_retention
        return None if text == _NEVER else parse_duration(text)

    @property
    def writer_digits(self) -> int:
        """The writer's id in timestamps."""
        if self.writer_id is not None:
            return self.writer_id
        return int.from_bytes(hashlib.sha256(self.writer_name.encode()).digest()[:8]) % 1000

    @property
    def writer_name(self) -> str:
        """Names this process among the writers."""
        return f"{socket.gethostname()}:{self.searchlog_port}"

    def flush_rules(self) -> FlushRules:
        return FlushRules(
            max_bytes=self.flush_max_bytes,
            max_entries=self.flush_max_entries,
            brisk_seconds=self.flush_brisk_seconds,
            brisk_entries=self.flush_brisk_entries,
            linger_seconds=self.flush_linger_seconds,
        )

    def spool_limits(self) -> SpoolLimits:
        return SpoolLimits(max_bytes=self.spool_mebibytes * _MEBIBYTE)

    def writer_limits(self) -> WriterLimits:
        return WriterLimits(
            max_memory_bytes=self.searchlog_memory_mebibytes * _MEBIBYTE, puts=self.searchlog_puts
        )
