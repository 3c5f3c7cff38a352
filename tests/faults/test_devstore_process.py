"""The development upstream as a process: what an acknowledged write survives, and how it stops."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from tests.doubles.devstore_process import DevstoreProcess, running_devstore

NAMESPACE = "/v2/namespaces/n"


def client_of(devstore: DevstoreProcess) -> httpx.Client:
    devstore.wait_until_ready()
    return httpx.Client(base_url=devstore.url, headers={"authorization": "Bearer x"})


def write(client: httpx.Client, **body: Any) -> None:
    client.post(NAMESPACE, json=body).raise_for_status()


def ask(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer: dict[str, Any] = client.post(f"{NAMESPACE}/query", json=body).raise_for_status().json()
    return answer


def test_acknowledged_writes_survive_a_kill(tmp_path: Path) -> None:
    text = {"s": {"type": "string", "full_text_search": {"stemming": True}, "filterable": True}}
    with running_devstore(tmp_path) as devstore, client_of(devstore) as client:
        for start in range(0, 3000, 1000):
            rows = [
                {"id": i, "s": f"row {i}", "odd' \"name": [i]} for i in range(start, start + 1000)
            ]
            write(client, upsert_rows=rows, schema=text)
        write(client, deletes=[0], patch_rows=[{"id": 1, "new": True}])
        metadata = client.get(f"{NAMESPACE}/metadata").json()
        devstore.process.kill()
        devstore.process.wait()

    with running_devstore(tmp_path) as devstore, client_of(devstore) as client:
        again = client.get(f"{NAMESPACE}/metadata").json()
        count = ask(client, aggregate_by={"n": ["Count"]})["aggregations"]["n"]
        first = ask(client, rank_by=["id", "asc"], limit=1, include_attributes=True)["rows"]
        found = ask(client, rank_by=["s", "BM25", "rows 2999"], limit=1)["rows"]
        write(client, upsert_rows=[{"id": 0, "another": 1}])
        after = client.get(f"{NAMESPACE}/metadata").json()

    assert again == metadata
    assert count == 2999
    assert first == [{"id": 1, "s": "row 1", "odd' \"name": [1], "new": True}]
    assert found[0]["id"] == 2999
    assert after["approx_row_count"] == 3000
    assert after["last_write_at"] > metadata["last_write_at"]


def test_sigterm_lets_requests_end_and_closes_the_file(tmp_path: Path) -> None:
    with running_devstore(tmp_path) as devstore, client_of(devstore) as client:
        write(client, upsert_rows=[{"id": 1}])
        client.put("/dev/v1/namespaces/n/behaviour", json={"delay_ms": 600}).raise_for_status()
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(ask, client, rank_by=["id", "asc"], limit=1)
            while not httpx.get(f"{devstore.url}/dev/v1/requests").json().get("query"):
                pass
            devstore.process.send_signal(signal.SIGTERM)
            answer = late.result(timeout=10)
        status = devstore.process.wait(timeout=10)

    assert answer["rows"] == [{"id": 1}]
    assert status == 0
    assert not list(tmp_path.glob("*.wal"))


def test_a_second_process_on_the_same_folder_ends_with_one_line(tmp_path: Path) -> None:
    with running_devstore(tmp_path) as first:
        first.wait_until_ready()
        with running_devstore(tmp_path) as second:
            _, errors = second.process.communicate(timeout=20)
            assert second.process.returncode == 1
        httpx.get(f"{first.url}/dev/v1/health").raise_for_status()

    assert errors.startswith("devstore: ")
    assert len(errors.splitlines()) == 1
