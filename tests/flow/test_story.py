"""The whole story once, over real HTTP, on the sample chain: scan -> locate -> route -> hold ->
show -> join -> report."""

import io
from pathlib import Path

import httpx
import pytest
from PIL import Image

from service import demo, qr
from tests import running
from tests.running import Running

FIXTURES = demo.fixtures()


def _upload(client: httpx.Client, path: str, file: Path) -> dict[str, object]:
    return running.answered(client.post(path, files={"file": (file.name, file.read_bytes())}))


def test_from_a_spreadsheet_to_a_join_in_the_report(service: Running) -> None:
    hq, visitor = service.hq, service.visitor

    # (The two stores that every test's chain begins with would stand in the way.)
    for store in running.MANAGED:
        assert hq.delete(f"/api/v1/stores/{store}").status_code == 204

    # HQ imports its stores; twice, to be sure. The second time changes nothing.
    stores = FIXTURES / "stores.csv"
    first = _upload(hq, "/api/v1/stores/import", stores)
    assert first["rejected"] == []
    again = _upload(hq, "/api/v1/stores/import", stores)
    assert (again["created"], again["updated"]) == (0, 0)
    assert again["unchanged"] == first["created"]

    # A table with the classical mistakes: each is named, and keeps no good row out.
    mistakes = _upload(
        hq, "/api/v1/stores/import?dry_run=true", FIXTURES / "stores-with-mistakes.csv"
    )
    assert mistakes["created"] == 2
    assert len(mistakes["rejected"]) == 14  # type: ignore[arg-type]

    # The unified code is printed on a poster, and read off it again.
    service.put_entry(
        radius_m=3000, fallback="https://work.weixin.qq.com/ct/wcdeMadeUpForTests0001"
    )
    poster = {"placement": "door", "name": "门口海报", "channel": "poster", "store": "SH020"}
    running.answered(hq.post("/api/v1/entries/tea/placements", json=poster))
    printed = hq.get("/api/v1/entries/tea/qr.png?placement=door")
    assert qr.decode(printed.content) == f"{service.settings.public_url}/q/tea?p=door"

    # A manager photographs the group's card: its payload is what visitors will be shown.
    key = running.answered(
        hq.post("/api/v1/keys", json={"role": "manager", "stores": ["SH020", "SH017"]})
    )["key"]
    manager = {"Authorization": f"Bearer {key}"}
    photo = (FIXTURES / "group-photo.jpg").read_bytes()
    put_up = running.answered(
        visitor.post(
            "/api/v1/stores/SH020/codes",
            files={"image": ("card.jpg", photo, "image/jpeg")},
            data={"capacity": "2"},
            headers=manager,
        )
    )
    assert put_up["kind"] == "wechat_group"
    assert put_up["expires_at"] is not None, "an ordinary group's code lives for seven days"
    refused = visitor.post(
        "/api/v1/stores/BJ001/codes", json={"payload": put_up["payload"]}, headers=manager
    )
    assert refused.status_code == 404, "another's store does not exist for this manager"
    service.put_code("SH017", "next", capacity=1)

    # Before anything is printed: why this store?
    dry = running.answered(hq.get("/api/v1/route?entry=tea&lon=121.4737&lat=31.2304"))
    assert (dry["store"]["store"], dry["reason"]) == ("SH020", "nearest")
    assert service.code(put_up["code_id"])["held"] == 0

    # Two customers scan the poster and take the two seats.
    for name in ("an", "bo"):
        scan_id = service.scan(name, placement="door")
        routing = service.locate(scan_id, 121.4737, 31.2304)
        assert (routing["store"]["store"], routing["reason"]) == ("SH020", "nearest")
    assert service.code(put_up["code_id"])["held"] == 2

    # What they see is the group's code, redrawn.
    picture = visitor.get(routing["code"]["image"])
    assert qr.decode(picture.content) == put_up["payload"]
    assert Image.open(io.BytesIO(picture.content)).size == (720, 720)

    # The third finds it full and is sent to the next store, the fourth to the fallback.
    third = service.scan("cy", placement="door")
    routing = service.locate(third, 121.4737, 31.2304)
    assert (routing["store"]["store"], routing["reason"]) == ("SH017", "next_store")
    assert routing["hops"][0]["store"] == "SH020"
    assert routing["hops"][0]["skipped"] == "full"
    fourth = service.scan("di")
    assert service.locate(fourth, 121.4737, 31.2304)["reason"] == "fallback"

    # The third presses the code: a member. The fourth is far from everything another day.
    service.tell(third, "pressed")
    service.tell(third, "joined")
    far = service.scan("ed")
    assert service.locate(far, 87.6, 43.8)["reason"] == "fallback"

    # HQ sees what each scan became, and gets the join with its tags.
    by_store = running.answered(hq.get("/api/v1/reports/funnel?by=store"))
    rows = {row["key"]: row for row in by_store["rows"]}
    assert (rows["SH020"]["scans"], rows["SH020"]["shown"], rows["SH020"]["joined"]) == (2, 2, 0)
    assert (rows["SH017"]["scans"], rows["SH017"]["joined"]) == (1, 1)
    assert rows["SH017"]["conversion"] == 1
    assert by_store["total"]["scans"] == 5
    assert by_store["total"]["conversion"] == pytest.approx(0.2)
    by_placement = running.answered(hq.get("/api/v1/reports/funnel?by=placement"))
    assert {row["key"]: row["scans"] for row in by_placement["rows"]} == {"door": 3, None: 2}
    sheet = hq.get("/api/v1/reports/funnel.csv?by=city")
    assert sheet.content.startswith("\ufeffkey,".encode())
    (join,) = running.answered(hq.get("/api/v1/joins"))["joins"]
    assert (join["store"], join["placement"], join["channel"]) == ("SH017", "door", "poster")
    assert (join["city"], join["district"]) == ("上海市", "黄浦区")
    assert (join["evidence"], join["source"]) == ("reported", "gps")
    assert join["distance_band"] == "100-300"
