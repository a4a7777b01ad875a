"""The files that pages load beside themselves, under names that change with their content.

`hq.css`, `hq.js` and the provinces' outlines are ours; `plotly.js` is the wheel's own minified
script. A name carries a hash, so that browsers may keep the file for ever; what is asked for by an
older name is gone.
"""

import functools
import gzip
import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from geo import places

_STATIC = Path(__file__).parent / "static"
_OUTLINES = Path(places.__file__).parent / "data" / "provinces.json"
_MEDIA = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent; `zipped` is the same by gzip."""

    name: str
    media: str
    plain: bytes
    zipped: bytes


def _sources() -> dict[str, Path]:
    return {
        "hq.css": _STATIC / "hq.css",
        "hq.js": _STATIC / "hq.js",
        "provinces.json": _OUTLINES,
        "plotly.js": _plotly(),
    }


def _plotly() -> Path:
    # Found without importing it, which would take a tenth of a second.
    spec = importlib.util.find_spec("plotly")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "package_data" / "plotly.min.js"


@functools.cache
def _named() -> dict[str, tuple[str, Path]]:
    """By the plain name: the one with the hash, and where the file is."""
    named = {}
    for plain, path in _sources().items():
        stem, _, ending = plain.rpartition(".")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        named[plain] = f"{stem}-{digest}.{ending}", path
    return named


def url(plain: str) -> str:
    """Where a page finds the file. Raises `KeyError`."""
    return f"/hq/assets/{_named()[plain][0]}"


@functools.cache
def find(name: str) -> Asset | None:
    """The file of that hashed name; None for any other. Slow the first time."""
    for hashed, path in _named().values():
        if hashed == name:
            data = path.read_bytes()
            return Asset(hashed, _MEDIA[Path(name).suffix], data, gzip.compress(data, 6, mtime=0))
    return None
