"""The unified code as it is printed: its permanent URL, drawn."""

import io
from urllib.parse import quote, urlencode

import qrcode

from service import qr


def entry_url(public_url: str, entry: str, placement: str | None = None) -> str:
    """The permanent URL that is printed; nothing in it ever changes."""
    url = f"{public_url}/q/{quote(entry)}"
    return f"{url}?{urlencode({'p': placement})}" if placement else url


def draw(url: str, form: str, *, size: int, logo: bytes | None, name: str) -> bytes:
    """An entry code as PNG (`size` pixels), SVG or PDF (with its name). Raises `qr.QrError`."""
    if form == "png":
        return qr.png(url, size_px=size, logo=logo)
    if form == "svg":
        return qr.svg(url, logo=logo)
    return qr.pdf(url, logo=logo, caption=name)


def terminal_code(url: str) -> str:
    """A URL as a QR code of half blocks, light on dark, as terminals mostly are."""
    code = qrcode.QRCode(error_correction=qrcode.constants.ERROR_CORRECT_L, border=2)
    code.add_data(url)
    drawn = io.StringIO()
    code.print_ascii(out=drawn, invert=True)
    return drawn.getvalue()
