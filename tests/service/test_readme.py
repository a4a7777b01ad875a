"""The README holds to the program: its settings table, and the commands that it names."""

import re
from pathlib import Path

import pytest
import typer.core
import typer.main

from service import cli
from service.cli import upkeep
from service.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
_BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS, PROSE = _BLOCK.findall(README), _BLOCK.sub("", README)
COMMANDS = sorted(
    {
        *re.findall(r"^nearcode [^\n#|]+", "".join(BLOCKS), re.MULTILINE),
        *re.findall(r"(?<=`)nearcode [^`]+(?=`)", PROSE),
    }
)


def test_the_readmes_settings_are_the_programs() -> None:
    told = re.findall(r"^\| `(NEARCODE_\w+)` \| (.*?) \| (.*) \|$", README, re.MULTILINE)
    assert told == [
        (f"NEARCODE_{name.upper()}", _default(field.default), field.description)
        for name, field in Settings.model_fields.items()
    ]


def _default(value: object) -> str:
    typed = upkeep.plain(value)
    return "" if typed == "-" else f"`{typed}`"


def test_the_readme_names_commands() -> None:
    assert len(COMMANDS) > 15


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_that_the_readme_names_is_there_with_its_options(line: str) -> None:
    words = line.split()[1:]
    command = typer.main.get_command(cli.app)
    while isinstance(command, typer.core.TyperGroup):
        assert words, f"{line}: of which subcommand?"
        name = words.pop(0)
        assert name in command.commands, line
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known, line
