"""The `nearcode` command: what it can do; a module tells of one subject.

`installation` opens what they work on, `arguments` reads what several take, `terminal` prints.
"""

import sys

import typer
from pydantic import ValidationError
from rich.markup import escape

from service import errors
from service.cli import (
    entries,
    imports,
    invitations,
    keys,
    people,
    posters,
    reports,
    rollups,
    routing,
    serving,
    simulation,
    upkeep,
    webhooks,
)
from service.cli.terminal import err

app = typer.Typer(
    name="nearcode",
    help="One QR code on every poster of a chain; every visitor gets the nearest store's group.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(serving.run_demo)
app.command()(serving.serve)
app.command()(serving.migrate)
# West and south are below zero: "-73.9" is a longitude, and no option.
app.command(context_settings={"ignore_unknown_options": True})(routing.route)
app.command()(simulation.simulate)
app.command("report")(reports.run_report)
app.command()(posters.poster)
app.command()(invitations.invite)
app.command("retention")(upkeep.run_retention)
app.command("doctor")(upkeep.run_doctor)
app.command("settings")(upkeep.list_settings)
app.add_typer(imports.app, name="import")
app.add_typer(keys.key_app, name="key")
app.add_typer(people.app, name="person")
app.add_typer(invitations.app, name="invitation")
app.add_typer(keys.chain_app, name="chain")
app.add_typer(entries.entry_app, name="entry")
app.add_typer(entries.placement_app, name="placement")
app.add_typer(webhooks.app, name="webhook")
app.add_typer(rollups.app, name="rollup")


def main() -> None:
    """Run the command; what goes wrong is one line on stderr and exit code 1."""
    try:
        app()
    except errors.BadInput as error:
        for mistake in error.errors:
            err.print(f"[red]{escape(mistake.field)}:[/red] {escape(mistake.detail)}")
        sys.exit(1)
    except errors.NearcodeError as error:
        err.print(f"[red]{escape(error.detail)}[/red]")
        sys.exit(1)
    except ValidationError as error:
        for found in error.errors():
            name = "NEARCODE_" + "_".join(map(str, found["loc"])).upper()
            err.print(f"[red]{name}:[/red] {escape(found['msg'])}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(0)
