"""The unified code as it is printed: its permanent URL, drawn."""

from urllib.parse import quote, urlencode

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
