"""Managers come by invitation: a link that works once, on the phone that opens it."""

import concurrent.futures
import io
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import zxingcpp
from PIL import Image

from service.settings import Settings
from tests import running
from tests.http import callers, chains
from tests.http.chains import Chain


def invite(chain: Chain, **body: Any) -> dict[str, Any]:
    body = {"stores": ["S1"], "name": "王芳", **body}
    return running.answered(chain.hq.post("/api/v1/invitations", json=body))


def path_of(link: str) -> str:
    return re.sub(r"^https?://[^/]+", "", link)


def join(phone: httpx.Client, made: dict[str, Any], **headers: str) -> httpx.Response:
    return phone.post(path_of(made["link"]), headers=headers)


@pytest.fixture
def phone(chain: Chain) -> Iterator[httpx.Client]:
    with chains.opened(chain.base_url) as client:
        yield client


def test_an_invitation_signs_the_phone_in_to_its_stores(chain: Chain, phone: httpx.Client) -> None:
    chain.put_store("S3", *chains.S1)
    made = invite(chain, stores=["S2", "S1"])
    assert (made["name"], made["stores"]) == ("王芳", ["S2", "S1"])
    page = phone.get(path_of(made["link"]))
    assert page.status_code == 200
    for text in ("王芳，您好", "S1店", "S2店", "在这部手机上登录"):
        assert text in page.text
    assert "S3" not in page.text
    assert "set-cookie" not in page.headers
    answer = join(phone, made)
    assert (answer.status_code, answer.headers["location"]) == (303, "/m")
    cookie = answer.headers["set-cookie"].lower()
    assert {"httponly", "samesite=lax", "path=/", "max-age=7776000"} <= {
        part.strip() for part in cookie.split(";")
    }
    me = running.answered(phone.get("/api/v1/me"))
    assert (me["kind"], me["role"], me["stores"]) == ("manager", "manager", ["S1", "S2"])
    assert phone.get("/api/v1/stores/S3").status_code == 404
    assert "S1店" in phone.get("/m").text
    (person,) = chain.get("/api/v1/people")["people"]
    assert (person["name"], person["role"], person["email"]) == ("王芳", "manager", None)
    assert person["sessions"] == 1


def test_looking_uses_nothing_up_and_joining_does(chain: Chain, phone: httpx.Client) -> None:
    """Chats fetch a link to show what is behind it, long before anybody taps."""
    made = invite(chain)
    for agent in ("WeChat preview", "Slackbot-LinkExpanding 1.0", "curl/8"):
        assert phone.get(path_of(made["link"]), headers={"User-Agent": agent}).status_code == 200
    assert phone.head(path_of(made["link"])).status_code in (200, 405)
    assert join(phone, made).status_code == 303
    with chains.opened(chain.base_url) as other:
        for answer in (other.get(path_of(made["link"])), join(other, made)):
            assert answer.status_code == 410
            assert "已经用过了" in answer.text
            assert "set-cookie" not in answer.headers
        assert other.get("/api/v1/me").status_code == 401
    # On the phone itself the link leads to its stores: a second tap, an old message.
    for answer in (phone.get(path_of(made["link"])), join(phone, made)):
        assert (answer.status_code, answer.headers["location"]) == (303, "/m")
    assert len(chain.get("/api/v1/people")["people"]) == 1


def test_of_many_who_use_a_link_at_once_one_comes_in(chain: Chain) -> None:
    made = invite(chain)

    def tap(_: int) -> int:
        with chains.opened(chain.base_url) as phone:
            return join(phone, made).status_code

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(tap, range(8)))
    assert sorted(answers) == [303] + [410] * 7
    (person,) = chain.get("/api/v1/people")["people"]
    assert person["sessions"] == 1


def test_a_revoked_link_lets_nobody_in(chain: Chain, phone: httpx.Client) -> None:
    made = invite(chain)
    path = f"/api/v1/invitations/{made['invitation_id']}"
    for _ in range(2):
        assert chain.hq.delete(path).status_code == 204
    for answer in (phone.get(path_of(made["link"])), join(phone, made)):
        assert answer.status_code == 410
        assert "已经收回" in answer.text
    assert phone.get(path_of(made["qr"]["png"])).status_code == 404
    assert chain.get("/api/v1/people")["people"] == []
    assert [row["action"] for row in chain.get("/api/v1/audit", action="invitation")["audit"]] == [
        "invitation.revoke", "invitation.create",
    ]  # fmt: skip


def test_a_link_that_was_used_cannot_be_revoked_any_more(chain: Chain, phone: httpx.Client) -> None:
    made = invite(chain)
    join(phone, made)
    assert chain.hq.delete(f"/api/v1/invitations/{made['invitation_id']}").status_code == 409
    assert phone.get("/api/v1/me").status_code == 200


def test_a_link_runs_out_after_a_week(chain: Chain, phone: httpx.Client) -> None:
    made = invite(chain)
    (listed,) = chain.get("/api/v1/invitations")["invitations"]
    assert listed["state"] == "open"
    callers.execute(
        chain,
        "DO $$ BEGIN ASSERT (SELECT expires_at - created_at = interval '7 days' FROM invitations"
        f" WHERE invitation_id = '{made['invitation_id']}'); END $$",
    )
    callers.execute(
        chain,
        "UPDATE invitations SET expires_at = now() WHERE invitation_id = $1::text::uuid",
        made["invitation_id"],
    )
    for answer in (phone.get(path_of(made["link"])), join(phone, made)):
        assert answer.status_code == 410
        assert "已经过期" in answer.text
    (listed,) = chain.get("/api/v1/invitations", state="expired")["invitations"]
    assert listed["invitation_id"] == made["invitation_id"]


@pytest.mark.parametrize("token", ["x", "x" * 43, "%00", "a" * 101])
def test_a_link_that_was_cut_off_says_so(phone: httpx.Client, token: str) -> None:
    for answer in (phone.get(f"/m/join/{token}"), phone.post(f"/m/join/{token}")):
        assert answer.status_code == 404
    assert "没有这个邀请" in phone.get("/m/join/cut-off").text


def test_the_link_comes_as_a_code_to_scan(chain: Chain, phone: httpx.Client) -> None:
    made = invite(chain)
    png = phone.get(path_of(made["qr"]["png"]))
    assert png.headers["content-type"] == "image/png"
    (found,) = zxingcpp.read_barcodes(Image.open(io.BytesIO(png.content)))
    assert found.text == made["link"]
    svg = phone.get(path_of(made["qr"]["svg"]))
    assert svg.headers["content-type"] == "image/svg+xml"
    assert svg.content.startswith(b"<?xml") or svg.content.startswith(b"<svg")
    for answer in (png, svg):
        assert answer.headers["cache-control"] == "no-store"
    assert phone.get(path_of(made["qr"]["png"]).replace(".png", ".pdf")).status_code == 404
    assert phone.get("/m/join/cut-off/qr.png").status_code == 404


def test_no_link_is_kept_or_listed(chain: Chain) -> None:
    made = invite(chain)
    token = made["link"].rpartition("/")[2]
    for path in ("/api/v1/invitations", "/api/v1/audit"):
        assert token not in chain.hq.get(path).text
    callers.execute(
        chain,
        "DO $$ BEGIN ASSERT NOT EXISTS (SELECT FROM invitations i WHERE i::text LIKE"
        f" '%{token}%' OR position(convert_to('{token}', 'UTF8') IN token_hash) > 0); END $$",
    )


def test_another_phone_gets_a_link_for_the_same_manager(chain: Chain, phone: httpx.Client) -> None:
    join(phone, invite(chain))
    (person,) = chain.get("/api/v1/people")["people"]
    again = running.answered(
        chain.hq.post("/api/v1/invitations", json={"person_id": person["person_id"]})
    )
    assert (again["name"], again["stores"]) == ("王芳", ["S1"])
    with chains.opened(chain.base_url) as other:
        assert join(other, again).status_code == 303
        assert running.answered(other.get("/api/v1/me"))["id"] == person["person_id"]
    (person,) = chain.get("/api/v1/people")["people"]
    assert person["sessions"] == 2


def test_hq_changes_a_managers_stores_at_once(chain: Chain, phone: httpx.Client) -> None:
    join(phone, invite(chain))
    (person,) = chain.get("/api/v1/people")["people"]
    path = f"/api/v1/people/{person['person_id']}"
    assert running.answered(chain.hq.patch(path, json={"stores": ["S2"]}))["stores"] == ["S2"]
    assert phone.get("/api/v1/stores/S1").status_code == 404
    assert phone.get("/api/v1/stores/S2").status_code == 200
    for stores in ([], ["S9"], None):
        assert chain.hq.patch(path, json={"stores": stores}).status_code == 422
    for change in ({"role": "hq"}, {"email": "a@b.c"}):
        assert chain.hq.patch(path, json=change).status_code == 422
    row = chain.get("/api/v1/audit", action="person.update")["audit"][0]
    assert (row["before"], row["after"]) == ({"stores": ["S1"]}, {"stores": ["S2"]})


def test_a_manager_who_has_left_is_out_and_their_links_are_worth_nothing(
    chain: Chain, phone: httpx.Client
) -> None:
    join(phone, invite(chain))
    (person,) = chain.get("/api/v1/people")["people"]
    again = running.answered(
        chain.hq.post("/api/v1/invitations", json={"person_id": person["person_id"]})
    )
    path = f"/api/v1/people/{person['person_id']}"
    running.answered(chain.hq.patch(path, json={"active": False}))
    assert phone.get("/api/v1/me").status_code == 401
    assert "店长登录" in phone.get("/m").text
    assert join(phone, again).status_code == 410
    body = {"person_id": person["person_id"]}
    assert chain.hq.post("/api/v1/invitations", json=body).status_code == 409
    assert chain.hq.post(f"{path}/password-link").status_code == 409


def test_what_a_manager_does_is_in_the_log_under_their_name(
    chain: Chain, phone: httpx.Client
) -> None:
    made = invite(chain)
    join(phone, made)
    headers = {"X-CSRF-Token": callers.token_of(phone)}
    body = {"payload": running.payload("one")}
    answer = phone.post("/api/v1/stores/S1/codes", json=body, headers=headers)
    assert answer.status_code == 201
    rows = chain.get("/api/v1/audit", who="王芳")["audit"]
    assert [row["action"] for row in rows] == [
        "code.create", "session.start", "invitation.use", "person.create",
    ]  # fmt: skip
    assert {row["who"]["kind"] for row in rows} == {"manager"}


def test_a_phone_that_somebody_else_uses_is_handed_over_by_a_tap_alone(
    chain: Chain, phone: httpx.Client
) -> None:
    join(phone, invite(chain, name="王芳"))
    before = phone.cookies["nc_session"]
    second = invite(chain, name="赵磊")
    assert "王芳" in phone.get(path_of(second["link"])).text
    assert running.answered(phone.get("/api/v1/me"))["name"] == "王芳"
    join(phone, second)
    assert running.answered(phone.get("/api/v1/me"))["name"] == "赵磊"
    with chains.opened(chain.base_url) as old:
        old.cookies.set("nc_session", before)
        assert old.get("/api/v1/me").status_code == 401


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://x.y"}])
def test_no_other_site_makes_a_phone_join(
    chain: Chain, phone: httpx.Client, headers: dict[str, str]
) -> None:
    made = invite(chain)
    assert join(phone, made, **headers).status_code == 403
    assert join(phone, made, **{"Sec-Fetch-Site": "same-origin"}).status_code == 303


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"stores": []}, "stores"),
        ({"stores": ["S9"]}, "stores"),
        ({"stores": ["S1"], "name": "x" * 201}, "name"),
        ({"stores": ["S1"], "person_id": "0199b7a0-0000-7000-8000-000000000000"}, "person_id"),
        ({"stores": ["S1"], "phone": "13800000000"}, "phone"),
    ],
)
def test_a_bad_invitation_is_refused_with_the_field(
    chain: Chain, body: dict[str, Any], field: str
) -> None:
    answer = chain.hq.post("/api/v1/invitations", json=body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert chain.get("/api/v1/invitations")["invitations"] == []


def test_without_a_name_a_manager_goes_by_the_stores(chain: Chain) -> None:
    assert invite(chain, stores=["S2", "S1"], name="")["name"] == "S2店、S1店"


def test_a_table_invites_many_and_says_why_not(chain: Chain) -> None:
    table = '门店编号,姓名\nS1,王芳\n"S1,S2",赵磊\nS9,没有的店\nS1；S2；S1,钱多多\n,没写店\nS2,\n'
    files = {"file": ("店长.csv", table.encode("gb18030"))}
    done = running.answered(chain.hq.post("/api/v1/invitations/import", files=files))
    assert [(each["row"], each["name"], each["stores"]) for each in done["created"]] == [
        (2, "王芳", ["S1"]),
        (3, "赵磊", ["S1", "S2"]),
        (5, "钱多多", ["S1", "S2"]),
        (7, "S2店", ["S2"]),
    ]
    assert [(each["row"], each["field"]) for each in done["rejected"]] == [
        (4, "store"), (6, "store"),
    ]  # fmt: skip
    assert len({each["link"] for each in done["created"]}) == 4
    with chains.opened(chain.base_url) as phone:
        assert join(phone, done["created"][1]).status_code == 303
        assert running.answered(phone.get("/api/v1/me"))["name"] == "赵磊"
    open_ones = chain.get("/api/v1/invitations", state="open")["invitations"]
    assert [each["name"] for each in open_ones] == ["S2店", "钱多多", "王芳"]
    assert len(chain.get("/api/v1/invitations", store="S2")["invitations"]) == 3


@pytest.mark.parametrize("data", [b"", b"name\nx\n", b"\x00\x01\x02"])
def test_a_table_that_is_none_is_refused(chain: Chain, data: bytes) -> None:
    answer = chain.hq.post("/api/v1/invitations/import", files={"file": ("x.csv", data)})
    assert answer.status_code == 422


def test_over_https_the_link_and_its_session_stay_there(database_url: str) -> None:
    settings = Settings(public_url="https://codes.example", database_pool=5)
    with running.running(database_url, settings) as service:
        body = {"stores": ["S1"]}
        made = running.answered(service.hq.post("/api/v1/invitations", json=body))
        assert made["link"].startswith("https://codes.example/m/join/")
        headers = {"Origin": "https://codes.example"}
        answer = service.visitor.post(path_of(made["link"]), headers=headers)
        assert answer.status_code == 303
        assert "secure" in answer.headers["set-cookie"].lower()


def test_every_door_forbids_scripts_frames_and_caches(chain: Chain, phone: httpx.Client) -> None:
    body = {"role": "hq", "name": "李敏", "email": f"doors@{chain.chain}.example"}
    person = running.answered(chain.hq.post("/api/v1/people", json=body))
    links = [path_of(invite(chain)["link"]), path_of(person["password_link"]), "/m/join/none"]
    for path in ("/hq", "/m", "/hq/password/none", *links):
        answer = phone.get(path)
        policy = dict(
            part.strip().split(" ", 1)
            for part in answer.headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        assert "script-src" not in policy
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["form-action"] == "'self'"
        nonce = re.search(r"<style nonce=\"([\w-]+)\">", answer.text)
        assert nonce is not None
        assert policy["style-src"] == f"'nonce-{nonce[1]}'"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"<script|\son\w+=|\sstyle=|https?://", answer.text.split("<body")[1])
