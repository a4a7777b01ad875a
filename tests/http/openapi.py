"""The service's own description of its API: what tests walk, so that no route is forgotten."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests import running
from tests.running import Running

METHODS = ("get", "put", "post", "delete", "patch")

# What anybody may do: the contract's "Visitors (no key)".
VISITORS = {
    ("POST", "/api/v1/scans"),
    ("GET", "/api/v1/scans/{scan_id}"),
    ("POST", "/api/v1/scans/{scan_id}/position"),
    ("POST", "/api/v1/scans/{scan_id}/store"),
    ("POST", "/api/v1/scans/{scan_id}/events"),
    ("GET", "/api/v1/entries/{entry}/stores"),
}


@dataclass(frozen=True, slots=True)
class Operation:
    method: str
    path: str
    parameters: tuple[dict[str, Any], ...]
    body: dict[str, Any] | None  # the schema by media type

    @property
    def key(self) -> tuple[str, str]:
        return self.method, self.path

    def at(self, **values: str) -> str:
        """The path with these values; others stand in for themselves."""
        names = {p["name"] for p in self.parameters if p["in"] == "path"}
        return self.path.format(**{name: values.get(name, name) for name in names})


def operations(document: dict[str, Any]) -> Iterator[Operation]:
    for path, methods in document["paths"].items():
        for method in METHODS:
            if found := methods.get(method):
                body = found.get("requestBody", {}).get("content")
                yield Operation(method.upper(), path, tuple(found.get("parameters", ())), body)


def document(service: Running) -> dict[str, Any]:
    return running.answered(service.visitor.get("/openapi.json"))
