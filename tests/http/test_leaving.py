"""Who leaves the group leaves a place."""

import pytest

from tests import running
from tests.http.chains import S1, Chain


@pytest.fixture
def member(chain: Chain) -> str:
    """The join of the only member of a code for one."""
    chain.put_entry()
    chain.put_code("S1", f"{chain.entry}-one", capacity=1)
    scan_id = chain.scan("a")
    chain.locate(scan_id, *S1)
    chain.tell(scan_id, "pressed")
    return str(chain.get("/api/v1/joins")["joins"][0]["join_id"])


def leave(chain: Chain, join_id: str) -> dict[str, object]:
    return running.answered(chain.hq.post(f"/api/v1/joins/{join_id}/left"))


def test_who_leaves_leaves_a_place_for_the_next(chain: Chain, member: str) -> None:
    assert chain.locate(chain.scan("b"), *S1)["reason"] == "all_full"
    assert leave(chain, member)["left_at"] is not None
    routing = chain.locate(chain.scan("c"), *S1)
    assert routing["outcome"] == "code"
    code = chain.code(routing["code"]["code_id"])
    assert (code["members"], code["held"]) == (0, 1)
    assert chain.get("/api/v1/reports/funnel")["total"]["left"] == 1


def test_who_leaves_twice_leaves_one_place(chain: Chain, member: str) -> None:
    first = leave(chain, member)
    assert leave(chain, member) == first
    assert chain.get("/api/v1/stores/S1/codes")["codes"][0]["members"] == 0


def test_who_has_left_may_come_back(chain: Chain, member: str) -> None:
    leave(chain, member)
    scan_id = chain.scan("a")
    assert chain.locate(scan_id, *S1)["outcome"] == "code"
    chain.tell(scan_id, "joined")
    assert chain.get("/api/v1/stores/S1/codes")["codes"][0]["members"] == 1


def test_only_the_chains_own_hq_may_say_so(chain: Chain, member: str) -> None:
    assert chain.read.post(f"/api/v1/joins/{member}/left").status_code == 403
    assert chain.manager.post(f"/api/v1/joins/{member}/left").status_code == 403
    unknown = "00000000-0000-7000-8000-000000000000"
    assert chain.hq.post(f"/api/v1/joins/{unknown}/left").status_code == 404
