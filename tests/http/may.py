"""Who may do what: the declared table that every route is held to (see test_roles.py).

A route that is not declared here is held to what is usual: of the API, HQ and readers see, and HQ
alone changes; of the pages, those under /m are for HQ and managers, those under /hq for HQ and
readers, and what is sent there for HQ alone. A new route that lets others in, or anybody, says so
in this table, or its test fails.
"""

from collections.abc import Iterator

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Route

Key = tuple[str, str]

ROLES = frozenset({"hq", "manager", "read"})

# What anybody may call, signed in or not.
OPEN: frozenset[Key] = frozenset(
    {
        # Visitors (the contract's "no key")
        ("POST", "/api/v1/scans"),
        ("GET", "/api/v1/scans/{scan_id}"),
        ("POST", "/api/v1/scans/{scan_id}/position"),
        ("POST", "/api/v1/scans/{scan_id}/store"),
        ("POST", "/api/v1/scans/{scan_id}/events"),
        ("GET", "/api/v1/entries/{entry}/stores"),
        ("GET", "/c/{code_id}.{form}"),
        # Machines
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        # Doors: whoever has the link, or signs in
        ("GET", "/"),
        ("POST", "/hq/sign-in"),
        ("POST", "/m/sign-in"),
        ("POST", "/hq/sign-out"),
        ("POST", "/m/sign-out"),
        ("GET", "/m/join/{token}"),
        ("POST", "/m/join/{token}"),
        ("GET", "/m/join/{token}/qr.{form}"),
        ("GET", "/hq/password/{token}"),
        ("POST", "/hq/password/{token}"),
        ("GET", "/hq/assets/{name}"),
        # They lead back to the page
        ("GET", "/m/codes"),
        ("GET", "/m/codes/{code_id}/{form}"),
        ("GET", "/m/{rest:path}"),
        ("GET", "/hq/{rest:path}"),
    }
)

# Who else than usual may.
MAY: dict[Key, frozenset[str]] = {
    ("GET", "/api/v1/me"): ROLES,
    ("GET", "/api/v1/route"): ROLES,
    ("GET", "/api/v1/stores"): ROLES,
    ("GET", "/api/v1/stores/{store}"): ROLES,
    ("GET", "/api/v1/stores/{store}/codes"): ROLES,
    ("POST", "/api/v1/stores/{store}/codes"): frozenset({"hq", "manager"}),
    ("POST", "/api/v1/stores/{store}/codes/preview"): frozenset({"hq", "manager"}),
    ("POST", "/api/v1/codes/import"): frozenset({"hq", "manager"}),
    ("GET", "/api/v1/imports"): ROLES,
    ("GET", "/api/v1/imports/{import_id}"): ROLES,
    ("GET", "/api/v1/codes/{code_id}"): ROLES,
    ("PATCH", "/api/v1/codes/{code_id}"): frozenset({"hq", "manager"}),
    ("PUT", "/api/v1/codes/{code_id}/image"): frozenset({"hq", "manager"}),
    ("GET", "/api/v1/codes/{code_id}/picture"): ROLES,
    # Makes the shop's placement when it is first asked for.
    ("GET", "/api/v1/stores/{store}/poster.pdf"): frozenset({"hq", "manager"}),
    ("GET", "/api/v1/warnings"): ROLES,
    ("GET", "/api/v1/chain"): ROLES,
    ("GET", "/api/v1/entries"): ROLES,
    ("GET", "/api/v1/entries/{entry}"): ROLES,
    ("GET", "/api/v1/entries/{entry}/placements"): ROLES,
    ("GET", "/api/v1/entries/{entry}/qr.{form}"): ROLES,
    ("GET", "/api/v1/entries/{entry}/qr.zip"): ROLES,
    ("POST", "/api/v1/entries/{entry}/qr.{form}"): ROLES,  # draws, and changes nothing
    **{
        ("GET", f"/api/v1/reports/{report}{form}"): ROLES
        for report in (
            "funnel",
            "trend",
            "stores",
            "managers",
            "placements",
            "compare",
            "map",
            "members",
            "revenue",
            "unserved",
        )
        for form in ("", ".csv", ".xlsx")
    },
    ("GET", "/api/v1/reports/freshness"): ROLES,
    ("GET", "/api/v1/joins"): ROLES,
    ("GET", "/api/v1/keys"): frozenset({"hq"}),
    ("GET", "/api/v1/people"): frozenset({"hq"}),
    ("GET", "/api/v1/people/{person_id}"): frozenset({"hq"}),
    ("GET", "/api/v1/invitations"): frozenset({"hq"}),
    ("GET", "/api/v1/webhooks"): frozenset({"hq"}),
    ("GET", "/api/v1/webhooks/{webhook_id}"): frozenset({"hq"}),
    ("GET", "/api/v1/webhooks/{webhook_id}/deliveries"): frozenset({"hq"}),
    ("GET", "/api/v1/orders"): ROLES,
    ("GET", "/api/v1/orders/{order}"): ROLES,
    ("GET", "/api/v1/sessions"): ROLES,  # one's own
    ("DELETE", "/api/v1/sessions/{session_id}"): ROLES,  # one's own
    ("GET", "/hq/import"): frozenset({"hq"}),
    ("GET", "/hq/chain"): frozenset({"hq"}),
    ("GET", "/hq/import-large/{import_id}"): frozenset({"hq"}),
    ("GET", "/hq/import-large/{import_id}.{form}"): frozenset({"hq"}),
    **{
        ("GET", f"/hq/{page}"): frozenset({"hq"})
        for noun in ("invitations", "keys", "people", "sessions", "webhooks")
        for page in (noun, noun + ".{form}")
    },
    ("GET", "/hq/person"): frozenset({"hq"}),
    ("GET", "/hq/webhook"): frozenset({"hq"}),
}

# By e-mail and password sign in persons of HQ and readers, no key and no manager.
PASSWORD: frozenset[Key] = frozenset(
    {("PUT", "/api/v1/password"), ("GET", "/hq/password"), ("POST", "/hq/password")}
)


def is_open(key: Key) -> bool:
    """Whether anybody may: also visitors, on their pages."""
    return key in OPEN or key[1].startswith("/q/")


def may(key: Key, caller: str) -> bool:
    """Whether a caller, `hq key` or `manager session`, say, may make that call."""
    role, _, by = caller.partition(" ")
    method, path = key
    if is_open(key):
        return True
    if key in PASSWORD:
        return by == "session" and role != "manager"
    if key in MAY:
        return role in MAY[key]
    if path.startswith("/m"):
        return role in ("hq", "manager")
    return role == "hq" or (role == "read" and method == "GET")


def routes(app: FastAPI) -> Iterator[tuple[Key, Route]]:
    """Every route of the app, pages included, in the order in which they are tried."""
    for route in _walk(app.routes):
        for method in sorted((route.methods or set()) - {"HEAD"}):
            yield (method, route.path), route


def _walk(found: list[BaseRoute]) -> Iterator[Route]:
    for route in found:
        if isinstance(route, Route | APIRoute):
            yield route
        elif (included := getattr(route, "original_router", None)) is not None:
            yield from _walk(included.routes)
