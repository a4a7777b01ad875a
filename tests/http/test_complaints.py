"""What visitors say of a code counts, and one visitor alone cannot close it."""

import pytest

from service import qr
from tests import running
from tests.http.chains import S1, Chain


@pytest.fixture
def shown(chain: Chain) -> str:
    """A code at S1, near which everybody stands; S2 is the next."""
    chain.put_entry()
    code_id = str(chain.put_code("S1", f"{chain.entry}-one", capacity=100)["code_id"])
    chain.put_code("S2", f"{chain.entry}-two", capacity=100)
    return code_id


def complain(chain: Chain, visitor: str, event: str = "broken") -> None:
    scan_id = chain.scan(visitor)
    chain.locate(scan_id, *S1)
    chain.tell(scan_id, event)


def store_of_a_new_visitor(chain: Chain, visitor: str) -> tuple[str, list[tuple[str, str]]]:
    routing = chain.locate(chain.scan(visitor), *S1)
    return routing["store"]["store"], [(hop["store"], hop["skipped"]) for hop in routing["hops"]]


def test_three_visitors_close_a_code_that_does_not_work(chain: Chain, shown: str) -> None:
    complain(chain, "a", "full")
    complain(chain, "b", "expired")
    assert store_of_a_new_visitor(chain, "c") == ("S1", [])
    complain(chain, "d", "broken")
    code = chain.code(shown)
    assert (code["status"], code["serving"]) == ("paused", False)
    assert code["flagged_at"] is not None
    assert store_of_a_new_visitor(chain, "e") == ("S2", [("S1", "reported")])


def test_one_visitor_alone_cannot_close_a_code(chain: Chain, shown: str) -> None:
    for event in ("full", "expired", "broken", "broken"):
        scan_id = chain.scan("a")
        chain.locate(scan_id, *S1)
        body = {"event": event, "code_id": shown}
        chain.visitor.post(f"/api/v1/scans/{scan_id}/events", json=body)
    complain(chain, "b")
    assert chain.code(shown)["status"] == "active"


def test_who_refuses_their_position_says_nothing_of_a_code(chain: Chain, shown: str) -> None:
    for visitor in "abcd":
        scan_id = chain.scan(visitor)
        chain.locate(scan_id, *S1)
        chain.tell(scan_id, "denied")
    assert chain.code(shown)["status"] == "active"


@pytest.mark.parametrize("change", [{"members": 5}, {"status": "active"}])
def test_a_manager_who_has_looked_opens_it_again(
    chain: Chain, shown: str, change: dict[str, object]
) -> None:
    for visitor in "abc":
        complain(chain, visitor)
    answer = chain.hq.patch(f"/api/v1/codes/{shown}", json=change)
    code = running.answered(answer)
    assert (code["status"], code["flagged_at"]) == ("active", None)
    # What was said before does not count any more: one more alone does not close it.
    complain(chain, "d")
    assert chain.code(shown)["status"] == "active"


def test_a_new_picture_opens_it_again(chain: Chain, shown: str) -> None:
    for visitor in "abc":
        complain(chain, visitor)
    payload = running.payload(f"{chain.entry}-new")
    files = {"image": ("new.png", qr.png(payload))}
    answer = chain.hq.put(f"/api/v1/codes/{shown}/image", files=files)
    assert running.answered(answer)["status"] == "active"
    assert store_of_a_new_visitor(chain, "d")[0] == "S1"


def test_another_change_leaves_it_closed(chain: Chain, shown: str) -> None:
    for visitor in "abc":
        complain(chain, visitor)
    code = running.answered(chain.hq.patch(f"/api/v1/codes/{shown}", json={"capacity": 120}))
    assert code["status"] == "paused"
    assert code["flagged_at"] is not None
