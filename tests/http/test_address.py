"""Whose address it is: a header says so only where somebody trusted has written it."""

from collections.abc import Iterator

import pytest
from starlette.requests import Request

from service import accounts, db
from service.http import context
from service.settings import Settings
from service.steps import scan
from tests import running
from tests.http import chains
from tests.http.chains import Chain
from tests.running import Running

PROXIES = "10.0.0.0/8, 2001:db8:1::/48"
SHANGHAI = "202.96.209.5"


def address(peer: str | None, *forwarded: str, trusted: str = PROXIES) -> str | None:
    """The client's address as the service sees it, with these X-Forwarded-For headers."""
    request = Request(
        {
            "type": "http",
            "method": "GET",
            "path": "/",
            "headers": [(b"x-forwarded-for", value.encode()) for value in forwarded],
            "client": (peer, 4711) if peer else None,
        }
    )
    return context.address_of(request, Settings.model_validate({"trusted_proxies": trusted}))


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        # Nobody trusted: the header is anybody's claim.
        ("192.0.2.1", (), "192.0.2.1"),
        ("192.0.2.1", ("198.51.100.1",), "192.0.2.1"),
        ("192.0.2.1", ("10.0.0.1",), "192.0.2.1"),
        # One proxy: what it has added is the last.
        ("10.0.0.1", (), "10.0.0.1"),
        ("10.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("10.0.0.1", ("203.0.113.9, 198.51.100.1",), "198.51.100.1"),
        ("10.0.0.1", ("203.0.113.9", "198.51.100.1"), "198.51.100.1"),
        # A chain of them.
        ("10.0.0.1", ("198.51.100.1, 10.0.0.2, 10.0.0.3",), "198.51.100.1"),
        ("10.0.0.1", ("203.0.113.9, 198.51.100.1, 10.0.0.2",), "198.51.100.1"),
        ("10.0.0.1", ("10.0.0.3, 10.0.0.2",), "10.0.0.1"),
        # IPv6, and IPv4 in it.
        ("2001:db8:1::1", ("2001:db8:2::7",), "2001:db8:2::7"),
        ("2001:db8:1::1", ("2001:DB8:2:0::7",), "2001:db8:2::7"),
        ("2001:db8:9::1", ("2001:db8:2::7",), "2001:db8:9::1"),
        ("::ffff:10.0.0.1", ("::ffff:198.51.100.1",), "198.51.100.1"),
        ("fe80::1%eth0", (), "fe80::1"),
        # With a port, as some proxies write it.
        ("10.0.0.1", ("198.51.100.1:5123",), "198.51.100.1"),
        ("10.0.0.1", ("[2001:db8:2::7]:5123",), "2001:db8:2::7"),
        ("10.0.0.1", ("[2001:db8:2::7]",), "2001:db8:2::7"),
        # Junk: what stands before it was written by whoever wrote it.
        ("10.0.0.1", ("198.51.100.1, unknown",), "10.0.0.1"),
        ("10.0.0.1", ("unknown, 198.51.100.1",), "198.51.100.1"),
        ("10.0.0.1", ("198.51.100.1, 999.1.1.1, 10.0.0.2",), "10.0.0.1"),
        ("10.0.0.1", (", ,",), "10.0.0.1"),
        ("10.0.0.1", ("' OR 1=1",), "10.0.0.1"),
        ("10.0.0.1", ("1" * 5000,), "10.0.0.1"),
        (None, ("198.51.100.1",), None),
        ("unix", ("198.51.100.1",), None),
    ],
)
def test_the_right_most_address_that_no_trusted_proxy_has_is_the_clients(
    peer: str | None, forwarded: tuple[str, ...], expected: str | None
) -> None:
    assert address(peer, *forwarded) == expected


def test_by_default_nobody_is_trusted() -> None:
    assert address("127.0.0.1", SHANGHAI, trusted="") == "127.0.0.1"


@pytest.fixture(scope="module")
def behind_a_proxy(shared_database_url: str) -> Iterator[Running]:
    """A service that believes its proxy, which stands on the same machine."""
    settings = Settings.model_validate({"trusted_proxies": "127.0.0.1", "poll_s": 0.2})
    with running.running(shared_database_url, settings) as started:
        yield started


@pytest.mark.parametrize(
    ("forwarded", "province"),
    [(SHANGHAI, "上海市"), (f"8.8.8.8, {SHANGHAI}", "上海市"), ("unknown", None), (None, None)],
)
def test_a_visitor_behind_a_trusted_proxy_is_located_by_their_own_address(
    behind_a_proxy: Running, forwarded: str | None, province: str | None
) -> None:
    with chains.own(behind_a_proxy) as chain:
        assert located(chain, forwarded) == province


def test_a_forged_header_moves_nobody(chain: Chain) -> None:
    assert located(chain, SHANGHAI) is None


def located(chain: Chain, forwarded: str | None) -> str | None:
    chain.put_entry()
    chain.put_code("S1", "one")
    scan_id = chain.scan("a")
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    path = f"/api/v1/scans/{scan_id}/position"
    answer = chain.visitor.post(path, json={"source": "ip"}, headers=headers)
    found = running.answered(answer)["located"]
    return str(found["province"]) if found else None


def test_an_address_is_kept_as_a_keyed_hash_alone(behind_a_proxy: Running) -> None:
    with chains.own(behind_a_proxy) as chain:
        chain.put_entry()
        answer = chain.visitor.post(
            "/api/v1/scans",
            json={"entry": chain.entry},
            headers={"X-Forwarded-For": f"8.8.8.8, {SHANGHAI}", "X-Visitor": "a"},
        )
        scan_id = running.answered(answer)["scan_id"]
        row, secret = running.run(kept(chain.database_url, scan_id))
    assert row["address_hash"] == scan.hash_address(secret, SHANGHAI)
    assert SHANGHAI not in str(dict(row))


async def kept(url: str, scan_id: str) -> tuple[dict[str, object], bytes]:
    connection = await db.connect(url)
    try:
        row = await connection.fetchrow("SELECT * FROM scans WHERE scan_id = $1::uuid", scan_id)
        return dict(row), await accounts.installation_secret(connection)
    finally:
        await connection.close()
