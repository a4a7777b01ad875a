"""A browser without JavaScript, and what the pages' tests send with it."""

import io
import re
from html import unescape
from typing import Any

import httpx
from PIL import Image

from service import qr
from tests import running
from tests.running import Running

HERE = (121.4737, 31.2304)  # where S1 stands
CHINESE, ENGLISH = "zh-CN,zh;q=0.9", "en-GB,en;q=0.8"


class Console:
    """A browser without JavaScript: keeps cookies, follows redirects, fills in forms."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.page = httpx.Response(200)

    def open(self, path: str, language: str = CHINESE) -> str:
        self.page = self.client.get(path, headers={"Accept-Language": language})
        return self.text

    @property
    def text(self) -> str:
        """What the page says, without tags and with single spaces."""
        body = self.page.text.partition("<body")[2]
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())

    @property
    def token(self) -> str:
        found = re.search(r'name="token" value="([^"]+)"', self.page.text)
        assert found, self.page.text
        return found[1]

    def sign_in(self, key: str, home: str, language: str = CHINESE) -> str:
        self.page = self.client.post(
            f"{home}/sign-in", data={"key": key}, headers={"Accept-Language": language}
        )
        return self.text

    def send(
        self,
        path: str,
        values: dict[str, str] | None = None,
        *,
        image: bytes | None = None,
        token: str | None = None,
        language: str = CHINESE,
    ) -> str:
        """Send a form of the page that is open, with its token unless another is given."""
        data = {"token": self.token if token is None else token, **(values or {})}
        files = None if image is None else {"image": ("code.png", image)}
        self.page = self.client.post(
            path, data=data, files=files, headers={"Accept-Language": language}
        )
        return self.text


def picture(*payloads: str) -> bytes:
    """A picture of the codes, side by side."""
    drawn = [Image.open(io.BytesIO(qr.png(payload, size_px=300))) for payload in payloads]
    sheet = Image.new("L", (300 * max(1, len(drawn)), 300), 255)
    for number, code in enumerate(drawn):
        sheet.paste(code, (300 * number, 0))
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()


def codes(service: Running, store: str) -> list[dict[str, Any]]:
    found = running.answered(service.hq.get(f"/api/v1/stores/{store}/codes"))["codes"]
    return list(found)
