"""Webhooks: told of what happened, signed, once each by their id, whatever the receiver does."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import standardwebhooks

from service import db
from service.settings import Settings
from tests import conftest, receiver, running
from tests.http import chains
from tests.http.chains import S1, Chain
from tests.receiver import Answer, Received, Receiver
from tests.running import Running

JOINS = ["join.created", "join.left"]


@pytest.fixture(scope="module")
def shared(postgres_url: str, template: str) -> Iterator[Running]:
    """A service that is quick to try again, and gives up after six seconds."""
    running.run(conftest.execute(postgres_url, f"CREATE DATABASE webhooks TEMPLATE {template}"))
    settings = Settings(
        sweep_s=0.1,
        poll_s=0.2,
        database_pool=5,
        warnings_s=0.2,
        webhook_timeout_s=3,
        webhook_retry_s=0.05,
        webhook_retry_hours=6 / 3600,
        webhook_private_networks=receiver.PRIVATE,
        max_webhooks=4,
    )
    with running.running(conftest.with_database(postgres_url, "webhooks"), settings) as started:
        yield started


@pytest.fixture
def crm() -> Iterator[Receiver]:
    with receiver.receiving() as made:
        yield made


@pytest.fixture
def chain(shared: Running) -> Iterator[Chain]:
    with chains.own(shared) as made:
        made.put_entry()
        made.put_code("S1", f"{made.entry}-a")
        yield made
        # So that nothing is sent to a receiver that is gone.
        for each in made.get("/api/v1/webhooks")["webhooks"]:
            made.hq.delete(f"/api/v1/webhooks/{each['webhook_id']}")


def put_webhook(
    chain: Chain, crm: Receiver, path: str = "/hook", events: list[str] = JOINS, **values: Any
) -> dict[str, Any]:
    body = {"url": crm.url + path, "events": events, **values}
    return running.answered(chain.hq.post("/api/v1/webhooks", json=body))


def join(chain: Chain, visitor: str = "a") -> dict[str, Any]:
    """A visitor joins; their join as HQ lists it."""
    scan_id = chain.scan(visitor)
    chain.locate(scan_id, *S1)
    chain.tell(scan_id, "joined")
    joins = chain.get("/api/v1/joins", limit=1000)["joins"]
    (found,) = [each for each in joins if each["scan_id"] == scan_id]
    return dict(found)


def deliveries(chain: Chain, webhook: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
    path = f"/api/v1/webhooks/{webhook['webhook_id']}/deliveries"
    found: list[dict[str, Any]] = chain.get(path, **params)["deliveries"]
    return found


def soon(so: Callable[[], bool], within_s: float = 20) -> bool:
    until = time.monotonic() + within_s
    while not so():
        if time.monotonic() > until:
            return False
        time.sleep(0.03)
    return True


def settled(chain: Chain, webhook: dict[str, Any], state: str) -> dict[str, Any]:
    """The endpoint's only delivery, once it has come to that."""
    assert soon(lambda: [each["state"] for each in deliveries(chain, webhook)] == [state]), (
        deliveries(chain, webhook)
    )
    return deliveries(chain, webhook)[0]


# ---------------------------------------------------------------- what is told


def test_an_order_that_is_matched_is_told_with_its_joins_lbs_tags(
    chain: Chain, crm: Receiver
) -> None:
    made = put_webhook(chain, crm, events=["order.matched"])
    joined = join(chain)
    order = {"order": "A1", "at": "2099-01-01", "amount": "12.5", "scan_id": joined["scan_id"]}
    for sent in (
        {**order, "scan_id": None},  # belongs to nobody
        order,
        {**order, "amount": "13"},  # belongs where it did
    ):
        running.answered(chain.hq.post("/api/v1/orders", json={"orders": [sent]}))
    (received,) = crm.wait_for(1)
    message = received.verified(made["secret"])
    assert message["type"] == "order.matched"
    told = message["data"]
    assert (told["order"]["order"], told["order"]["amount"]) == ("A1", "12.50")
    assert told["order"]["match"]["rule"] == "scan_id"
    tags = {name: told["join"][name] for name in ("join_id", "store", "city", "distance_band")}
    assert tags == {name: joined[name] for name in tags}
    assert len(deliveries(chain, made)) == 1


def test_a_join_is_told_with_its_lbs_tags_and_signed(chain: Chain, crm: Receiver) -> None:
    made = put_webhook(chain, crm)
    assert made["secret"].startswith("whsec_")
    joined = join(chain)
    (received,) = crm.wait_for(1)
    message = received.verified(made["secret"])
    assert message["type"] == "join.created"
    assert message["timestamp"] == joined["joined_at"]
    del joined["next_url"]
    assert message["data"] == joined
    assert (message["data"]["store"], message["data"]["district"]) == ("S1", "黄浦区")
    assert received.headers["content-type"] == "application/json"
    told = settled(chain, made, "delivered")
    assert told["delivery_id"] == received.message_id
    assert (told["attempts"], told["status"], told["error"]) == (1, 200, None)
    assert told["message"] == message
    assert told["next_attempt_at"] is None


def test_a_message_that_was_tampered_with_does_not_verify(chain: Chain, crm: Receiver) -> None:
    made = put_webhook(chain, crm)
    join(chain)
    (received,) = crm.wait_for(1)
    forged = Received(received.path, received.headers, received.body.replace(b"S1", b"S2"))
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        forged.verified(made["secret"])
    other = put_webhook(chain, crm, "/other")
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        received.verified(other["secret"])


def test_who_leaves_is_told_of_once(chain: Chain, crm: Receiver) -> None:
    made = put_webhook(chain, crm, events=["join.left"])
    joined = join(chain)
    for _ in range(3):
        left = running.answered(chain.hq.post(f"/api/v1/joins/{joined['join_id']}/left"))
    (received,) = crm.wait_for(1)
    message = received.verified(made["secret"])
    assert message["type"] == "join.left"
    assert message["data"]["join_id"] == joined["join_id"]
    assert message["data"]["left_at"] == left["left_at"] == message["timestamp"]
    settled(chain, made, "delivered")


def test_warnings_are_told_when_they_are_raised_and_closed(chain: Chain, crm: Receiver) -> None:
    made = put_webhook(chain, crm, events=["warning.raised", "warning.closed"])
    code_id = chain.put_code("S2", f"{chain.entry}-w")["code_id"]
    path = f"/api/v1/codes/{code_id}"
    running.answered(chain.hq.patch(path, json={"status": "paused"}))
    crm.wait_for(1)
    running.answered(chain.hq.patch(path, json={"status": "active"}))
    messages = [each.verified(made["secret"]) for each in crm.wait_for(2)]
    assert [message["type"] for message in messages] == ["warning.raised", "warning.closed"]
    raised, closed = (message["data"] for message in messages)
    assert (raised["kind"], raised["store"], raised["closed_at"]) == ("not_serving", "S2", None)
    assert raised["severity"] == "critical"
    assert closed["warning_id"] == raised["warning_id"]
    assert closed["closed_at"] is not None


def test_every_endpoint_is_told_of_what_it_asked_for_alone(chain: Chain, crm: Receiver) -> None:
    put_webhook(chain, crm, "/created", ["join.created"])
    put_webhook(chain, crm, "/left", ["join.left"])
    put_webhook(chain, crm, "/both", JOINS)
    put_webhook(chain, crm, "/off", JOINS, enabled=False)
    joined = join(chain)
    chain.hq.post(f"/api/v1/joins/{joined['join_id']}/left").raise_for_status()
    received = crm.wait_for(4)
    assert sorted((each.path, each.message["type"]) for each in received) == [
        ("/both", "join.created"),
        ("/both", "join.left"),
        ("/created", "join.created"),
        ("/left", "join.left"),
    ]
    ids = {each.message_id for each in received if each.message["type"] == "join.created"}
    assert len(ids) == 1, "the same event has the same id wherever it is sent"


def test_another_chain_hears_nothing(shared: Running, chain: Chain, crm: Receiver) -> None:
    with chains.own(shared) as other:
        theirs = put_webhook(other, crm, "/theirs")
        put_webhook(chain, crm, "/ours")
        join(chain)
        crm.wait_for(1, "/ours")
        assert crm.at("/theirs") == []
        assert deliveries(other, theirs) == []


def test_where_nobody_listens_nothing_is_kept(chain: Chain, crm: Receiver) -> None:
    join(chain)
    made = put_webhook(chain, crm)
    join(chain, "b")
    settled(chain, made, "delivered")
    assert len(crm.received) == 1


# ---------------------------------------------------------------- receivers that fail


def test_one_that_fails_is_told_again_with_the_same_id_and_bytes(
    chain: Chain, crm: Receiver
) -> None:
    crm.answer = lambda received, number: Answer(500 if number < 4 else 204)
    made = put_webhook(chain, crm)
    join(chain)
    received = crm.wait_for(4)
    assert len({each.message_id for each in received}) == 1
    assert len({each.body for each in received}) == 1
    for each in received:
        each.verified(made["secret"])
    told = settled(chain, made, "delivered")
    assert (told["attempts"], told["status"]) == (4, 204)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(hangs_up=True), "RemoteProtocolError"),
        (Answer(after_s=4), "no answer within 3 s"),
        (Answer(404), "answered 404"),
        (Answer(302, {"Location": "http://127.0.0.1:1/"}), "answered 302"),
    ],
    ids=["hangs up", "is too slow", "knows nothing", "redirects"],
)
def test_one_that_never_takes_it_is_given_up_and_can_be_told_again(
    chain: Chain, crm: Receiver, answer: Answer, error: str
) -> None:
    crm.answer = lambda received, number: answer
    made = put_webhook(chain, crm)
    join(chain)
    told = settled(chain, made, "dead")
    assert error in told["error"]
    assert told["attempts"] > 1
    assert told["next_attempt_at"] is None
    assert chain.get("/api/v1/webhooks")["webhooks"][0]["failing_since"] is not None
    assert [each["state"] for each in deliveries(chain, made, state="dead")] == ["dead"]
    assert deliveries(chain, made, state="pending") == []
    # The dead letter is mended by hand.
    crm.answer = lambda received, number: Answer()
    path = f"/api/v1/webhooks/{made['webhook_id']}/deliveries/{told['delivery_id']}/retry"
    again = running.answered(chain.hq.post(path))
    assert again["state"] == "pending"
    assert settled(chain, made, "delivered")["attempts"] == told["attempts"] + 1
    assert {each.message_id for each in crm.received} == {told["delivery_id"]}
    assert chain.get("/api/v1/webhooks")["webhooks"][0]["failing_since"] is None


def test_a_redirect_is_not_followed(chain: Chain, crm: Receiver) -> None:
    crm.answer = lambda received, number: Answer(307, {"Location": f"{crm.url}/private"})
    made = put_webhook(chain, crm)
    join(chain)
    settled(chain, made, "dead")
    assert crm.at("/private") == []


def test_one_that_is_gone_is_disabled_until_hq_enables_it(chain: Chain, crm: Receiver) -> None:
    crm.answer = lambda received, number: Answer(410 if number == 1 else 200)
    made = put_webhook(chain, crm)
    join(chain)
    told = settled(chain, made, "dead")
    assert (told["attempts"], told["status"]) == (1, 410)

    def stands() -> dict[str, Any]:
        return chain.get(f"/api/v1/webhooks/{made['webhook_id']}")

    assert soon(lambda: not stands()["enabled"])
    assert stands()["disabled_reason"] == "gone"
    logged = chain.get("/api/v1/audit", action="webhook.disable")["audit"]
    assert [each["who"]["kind"] for each in logged] == ["system"]
    join(chain, "b")
    enabled = chain.hq.patch(f"/api/v1/webhooks/{made['webhook_id']}", json={"enabled": True})
    assert running.answered(enabled)["disabled_reason"] is None
    join(chain, "c")
    crm.wait_for(2)
    assert len(deliveries(chain, made)) == 2, "what happened while it was disabled is not told"


@pytest.mark.parametrize("status", [429, 503])
def test_one_that_asks_for_patience_is_let_alone_so_long(
    chain: Chain, crm: Receiver, status: int
) -> None:
    came: list[float] = []

    def answer(received: Received, number: int) -> Answer:
        came.append(time.monotonic())
        return Answer(status, {"Retry-After": "1"}) if number == 1 else Answer()

    crm.answer = answer
    made = put_webhook(chain, crm)
    join(chain, "a")
    crm.wait_for(1)
    assert soon(lambda: deliveries(chain, made)[0]["status"] == status)
    join(chain, "b")  # another message waits as well
    crm.wait_for(3)
    assert came[1] - came[0] >= 1
    assert all(each["state"] == "delivered" for each in deliveries(chain, made)) or soon(
        lambda: all(each["state"] == "delivered" for each in deliveries(chain, made))
    )


def test_an_answer_without_end_is_read_up_to_a_bound(chain: Chain, crm: Receiver) -> None:
    crm.answer = lambda received, number: Answer(endless=b"x" * 65_536)
    made = put_webhook(chain, crm)
    join(chain)
    told = settled(chain, made, "delivered")
    assert told["attempts"] == 1
    # What the kernel has taken for us is some megabytes at the most.
    time.sleep(0.2)
    written = crm.written
    time.sleep(0.2)
    assert crm.written == written, "nobody reads on"


def test_one_that_is_slow_holds_up_no_other(chain: Chain, crm: Receiver) -> None:
    released = threading.Event()

    def answer(received: Received, number: int) -> Answer:
        if received.path == "/slow":
            released.wait(60)
        return Answer()

    crm.answer = answer
    slow = put_webhook(chain, crm, "/slow")
    put_webhook(chain, crm, "/quick")
    try:
        for visitor in range(15):
            join(chain, f"v{visitor}")
        crm.wait_for(15, "/quick")
        assert len({each.message_id for each in crm.at("/quick")}) == 15
        assert {each["state"] for each in deliveries(chain, slow)} <= {"pending", "dead"}
    finally:
        released.set()


def test_one_that_has_failed_for_days_is_disabled(
    shared: Running, chain: Chain, crm: Receiver
) -> None:
    crm.answer = lambda received, number: Answer(500)
    made = put_webhook(chain, crm)
    join(chain)
    crm.wait_for(1)
    path = f"/api/v1/webhooks/{made['webhook_id']}"
    assert soon(lambda: chain.get(path)["failing_since"] is not None)
    statement = (
        "UPDATE webhooks SET failing_since = now() - interval '121 hours'"
        f" WHERE webhook_id = '{made['webhook_id']}'"
    )
    running.run(conftest.execute(shared.database_url, statement))
    assert soon(lambda: not chain.get(path)["enabled"])
    assert chain.get(path)["disabled_reason"] == "failing"


# ---------------------------------------------------------------- endpoints and their secrets


def test_a_secret_is_told_once_and_kept_nowhere(
    shared: Running, chain: Chain, crm: Receiver
) -> None:
    made = put_webhook(chain, crm)
    secret = made["secret"].removeprefix("whsec_")
    path = f"/api/v1/webhooks/{made['webhook_id']}"
    assert "secret" not in chain.get(path)
    for told in (chain.get("/api/v1/webhooks"), chain.get("/api/v1/audit")):
        assert secret not in str(told)

    async def kept() -> str:
        connection = await db.connect(shared.database_url)
        try:
            rows = await connection.fetch("SELECT w::text FROM webhooks w")
            return str(rows)
        finally:
            await connection.close()

    text = running.run(kept())
    assert made["webhook_id"] in text
    assert secret not in text
    assert base64.b64decode(secret).hex() not in text


def test_after_a_rotation_both_secrets_verify_for_a_while(chain: Chain, crm: Receiver) -> None:
    made = put_webhook(chain, crm)
    path = f"/api/v1/webhooks/{made['webhook_id']}/secret"
    rotated = running.answered(chain.hq.post(path, json={"keep_hours": 1}))
    assert rotated["secret"] != made["secret"]
    assert rotated["old_secret_until"] is not None
    join(chain)
    (received,) = crm.wait_for(1)
    assert len(received.signatures) == 2
    assert received.verified(made["secret"]) == received.verified(rotated["secret"])
    # One that has become known signs no more.
    last = running.answered(chain.hq.post(path, json={"keep_hours": 0}))
    join(chain, "b")
    received = crm.wait_for(2)[1]
    received.verified(last["secret"])
    for old in (made, rotated):
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            received.verified(old["secret"])


def test_an_endpoint_can_be_tried_out(chain: Chain, crm: Receiver) -> None:
    made = put_webhook(chain, crm, enabled=False)
    path = f"/api/v1/webhooks/{made['webhook_id']}/test"
    tried = running.answered(chain.hq.post(path))
    assert (tried["state"], tried["status"], tried["event"]) == ("delivered", 200, "webhook.test")
    (received,) = crm.received
    assert received.verified(made["secret"])["data"] == {"chain": chain.chain}
    crm.answer = lambda received, number: Answer(500)
    tried = running.answered(chain.hq.post(path))
    assert (tried["state"], tried["error"]) == ("dead", "answered 500")
    assert len(deliveries(chain, made)) == 2


def test_an_endpoint_is_changed_and_deleted_and_it_is_logged(chain: Chain, crm: Receiver) -> None:
    made = put_webhook(chain, crm, "/old", description="CRM")
    path = f"/api/v1/webhooks/{made['webhook_id']}"
    change = {"url": f"{crm.url}/new", "events": ["join.created"]}
    changed = running.answered(chain.hq.patch(path, json=change))
    assert (changed["url"], changed["events"]) == (f"{crm.url}/new", ["join.created"])
    assert changed["description"] == "CRM"
    join(chain)
    crm.wait_for(1, "/new")
    assert chain.hq.delete(path).status_code == 204
    assert chain.hq.get(path).status_code == 404
    assert chain.get("/api/v1/webhooks")["webhooks"] == []
    join(chain, "b")
    actions = [each["action"] for each in chain.get("/api/v1/audit", action="webhook")["audit"]]
    assert actions == ["webhook.delete", "webhook.change", "webhook.create"]
    assert crm.at("/old") == []


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"url": "ftp://crm.example/"}, "url"),
        ({"url": "https://"}, "url"),
        ({"url": "nonsense"}, "url"),
        ({"url": "https://user:word@crm.example/"}, "url"),
        ({"url": "https://crm.example/#part"}, "url"),
        ({"url": "https://crm.example/" + "x" * 2000}, "url"),
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "https://169.254.169.254/latest/meta-data"}, "url"),
        ({"url": "https://[fd00::1]/"}, "url"),
        ({"url": "https://[::ffff:10.0.0.1]/"}, "url"),
        ({"url": "https://[64:ff9b::a00:1]/"}, "url"),
        ({"url": "https://0.0.0.0/"}, "url"),
        ({"url": "http://93.184.215.14/"}, "url"),  # unencrypted, and public
        ({"url": "https://ö\ud800/"}, "url"),
        ({"events": []}, "events"),
        ({"events": ["join.forgotten"]}, "events.0"),
        ({"secret": "mine"}, "secret"),
    ],
)
def test_a_bad_endpoint_is_refused_with_its_field(
    chain: Chain, values: dict[str, Any], field: str
) -> None:
    body = {"url": "https://crm.invalid/", "events": JOINS, **values}
    answer = chain.hq.post(
        "/api/v1/webhooks",
        content=json.dumps(body),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 422, answer.text
    assert [each["field"] for each in answer.json()["errors"]][:1] == [field]
    assert chain.get("/api/v1/webhooks")["webhooks"] == []


def test_a_chain_has_only_so_many_endpoints(chain: Chain, crm: Receiver) -> None:
    for number in range(4):
        put_webhook(chain, crm, f"/{number}")
    body = {"url": crm.url, "events": JOINS}
    assert chain.hq.post("/api/v1/webhooks", json=body).status_code == 409


# ---------------------------------------------------------------- what an answer says


def test_an_answers_next_url_is_shown_to_who_has_joined(chain: Chain, crm: Receiver) -> None:
    url = "https://mall.example/coupon?c=新人"
    crm.answer = lambda received, number: receiver.json_of(next_url=url)
    put_webhook(chain, crm)
    scan_id = chain.scan("a")
    assert "next_url" not in chain.locate(scan_id, *S1)
    assert "next_url" not in chain.tell(scan_id, "pressed")

    def told(scan_id: str) -> str | None:
        answer = running.answered(chain.visitor.get(f"/api/v1/scans/{scan_id}"))
        found: str | None = answer.get("next_url")
        return found

    assert soon(lambda: told(scan_id) is not None)
    assert told(scan_id) == "https://mall.example/coupon?c=%E6%96%B0%E4%BA%BA"
    assert chain.tell(scan_id, "joined")["next_url"] == told(scan_id)
    # Who comes back sees it, too; who has not joined does not.
    again = chain.scan("a")
    assert told(again) == told(scan_id)
    other = chain.scan("b")
    chain.locate(other, *S1)
    assert told(other) is None
    (joined,) = chain.get("/api/v1/joins")["joins"]
    assert joined["next_url"] == told(scan_id)


@pytest.mark.parametrize(
    "said",
    [
        "javascript:alert(1)",
        "https://user:word@mall.example/",
        "//mall.example/",
        "/coupon",
        "https://mall.example/" + "x" * 2000,
        "https://mall.example/\nX: y",
        "https://",
        "data:text/html,x",
        17,
        ["https://mall.example/"],
        None,
    ],
)
def test_a_next_url_that_is_not_to_be_trusted_is_not_shown(
    chain: Chain, crm: Receiver, said: object
) -> None:
    crm.answer = lambda received, number: receiver.json_of(next_url=said)
    made = put_webhook(chain, crm)
    joined = join(chain)
    settled(chain, made, "delivered")
    answer = running.answered(chain.visitor.get(f"/api/v1/scans/{joined['scan_id']}"))
    assert "next_url" not in answer


@pytest.mark.parametrize("body", [b"", b"[]", b'"https://mall.example/"', b"{", b"\xff" * 100])
def test_an_answer_that_says_nothing_is_as_good(chain: Chain, crm: Receiver, body: bytes) -> None:
    crm.answer = lambda received, number: Answer(body=body)
    made = put_webhook(chain, crm)
    join(chain)
    assert settled(chain, made, "delivered")["attempts"] == 1
