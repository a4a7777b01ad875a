"""Warnings as HQ and managers ask for them, of a running service."""

import time
from collections.abc import Callable
from typing import Any

import httpx

from tests import running
from tests.http.chains import S1, Chain


def told(client: httpx.Client, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = running.answered(client.get("/api/v1/warnings", params=params))[
        "warnings"
    ]
    return found


def seen(chain: Chain, kinds: set[str], client: httpx.Client | None = None) -> bool:
    return soon(lambda: {row["kind"] for row in told(client or chain.hq)} == kinds)


def soon(so: Callable[[], bool]) -> bool:
    """Whether it comes to be so within some seconds."""
    until = time.monotonic() + 20
    while not so():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


FULL = {"filling", "nearly_full", "full", "not_serving"}


def test_a_full_code_is_warned_of_until_it_is_mended(chain: Chain) -> None:
    chain.put_entry()
    code_id = chain.put_code("S1", f"{chain.entry}-a", capacity=1, label="一群")["code_id"]
    scan_id = chain.scan("a")
    chain.locate(scan_id, *S1)
    chain.tell(scan_id, "pressed")
    assert seen(chain, FULL)
    by_kind = {row["kind"]: row for row in told(chain.read)}
    assert by_kind["full"]["code_id"] == code_id
    assert by_kind["full"]["severity"] == "critical"
    assert by_kind["full"]["label"] == "一群"
    assert by_kind["full"]["details"]["capacity"] == 1
    assert by_kind["not_serving"]["store_name"] == "S1店"
    assert by_kind["not_serving"]["code_id"] is None
    assert by_kind["not_serving"]["details"]["full"] == 1
    running.answered(chain.manager.patch(f"/api/v1/codes/{code_id}", json={"members": 0}))
    assert seen(chain, set())
    assert {row["kind"] for row in told(chain.hq, all="true")} == FULL
    assert all(row["closed_at"] > row["raised_at"] for row in told(chain.hq, all="true"))


def test_a_manager_is_told_of_their_own_stores_alone(chain: Chain) -> None:
    chain.put_store("S3", *S1)
    for store in ("S1", "S3"):
        made = chain.put_code(store, f"{chain.entry}-{store}")
        chain.hq.patch(f"/api/v1/codes/{made['code_id']}", json={"status": "paused"})
    assert soon(lambda: {row["store"] for row in told(chain.hq)} == {"S1", "S3"})
    assert {row["store"] for row in told(chain.manager)} == {"S1"}
    assert told(chain.manager, store="S3") == []
    assert {row["store"] for row in told(chain.hq, store="S3")} == {"S3"}


def test_warnings_are_listed_page_by_page_newest_first(chain: Chain) -> None:
    code_id = chain.put_code("S1", f"{chain.entry}-p", capacity=1)["code_id"]
    chain.hq.patch(f"/api/v1/codes/{code_id}", json={"members": 1})
    assert seen(chain, FULL)
    listed: list[str] = []
    cursor = None
    for _ in range(4):
        page = chain.get("/api/v1/warnings", limit=1, **({"cursor": cursor} if cursor else {}))
        listed += [row["warning_id"] for row in page["warnings"]]
        cursor = page["next"]
    assert cursor is None
    assert listed == sorted(listed, reverse=True)
    assert len(set(listed)) == 4
    answer = chain.hq.get("/api/v1/warnings", params={"cursor": "nonsense"})
    assert answer.status_code == 422
