"""Which store a visitor would be led to, and why."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from geo import datum as datums
from geo.point import InvalidPoint, Point
from service import db, errors, explanation, visits
from service import map as maps
from service.cli import arguments, installation, terminal
from service.cli.terminal import err, out
from service.directory import Directory
from service.domain import (
    Routing,
    Store,
)
from service.steps import locate, show
from service.steps import route as step_route


def route(
    lon: float,
    lat: float,
    datum: arguments.DatumOption = None,
    entry: Annotated[str | None, typer.Option(help="Needed if there are several.")] = None,
    accuracy_m: Annotated[float | None, typer.Option(min=0, help="Radius in metres.")] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
    picture: Annotated[
        Path | None, typer.Option("--map", help="Also draw it: FILE.html or FILE.svg.")
    ] = None,
) -> None:
    """The decision for a visitor at LON LAT, explained; no seat is taken."""
    settings = installation.settings()
    if picture is not None and picture.suffix.lower() not in _DRAWN:
        raise errors.BadInput.of("--map", f"{picture.name} ends neither in .html nor in .svg")
    try:
        point = Point(lon, lat)
    except InvalidPoint as error:
        raise errors.BadInput.of(error.field, str(error)) from error
    fix = locate.by_phone(
        point,
        datum=arguments.datum(datum) or datums.Datum.WGS84,
        accuracy_m=accuracy_m or settings.gps_accuracy_m,
    )

    async def work(connection: db.Connection) -> tuple[Directory, str]:
        known = Directory()
        await known.refresh(connection)
        return known, arguments.entry_among(known.entries, entry)

    known, name = installation.run(settings, work)
    found = known.entries[name]
    asked = step_route.Route(known, found, visits.rules(settings), datetime.now(UTC), fix)
    routing = asked.explain()
    if as_json:
        out.print_json(json.dumps(show.public(known, found.chain_id, routing)))
    else:
        _tell_routing(asked, routing)
    if picture is not None:
        _draw(picture, asked, routing)


_DRAWN = {".html": maps.html, ".svg": maps.svg}


def _draw(file: Path, asked: step_route.Route, routing: Routing) -> None:
    drawn = _DRAWN[file.suffix.lower()](asked, routing)
    try:
        file.write_text(drawn, "utf-8")
    except OSError as error:
        raise errors.BadInput.of("--map", f"{file}: {error.strerror}") from error
    err.print(f"Map: {escape(str(file))}")


def _tell_routing(asked: step_route.Route, routing: Routing) -> None:
    def named(shop: Store | None) -> str:
        return escape(f"{shop.name} ({shop.store})") if shop else "the entry's fallback"

    def far(metres: float | None) -> str:
        return "" if metres is None else f"{metres:,.0f} m"

    place = routing.located
    if place:
        where = " ".join(
            dict.fromkeys(part for part in (place.province, place.city, place.district) if part)
        )
        out.print(f"Visitor: {where or 'abroad or at sea'}, within {place.accuracy_m:,.0f} m")
    table = terminal.table("", "store", "distance", "why")
    for row in explanation.rows(asked, routing):
        part = f"[bold]{row.part}[/bold]" if row.part is explanation.Part.SHOWN else row.part.value
        table.add_row(part, named(row.store), far(row.distance_m), row.why.value)
    terminal.show(table)
    _, because = explanation.REASONS[routing.reason]
    out.print(f"Outcome: [bold]{routing.outcome}[/bold], {routing.reason}: {because}.")
    code = asked.directory.codes.get(routing.code_id) if routing.code_id else None
    if code is not None:
        out.print(
            f"Code: {code.code_id}, {code.kind}, {code.members} members and {code.held} held "
            f"of {code.capacity}"
        )
