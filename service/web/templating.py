"""How templates are read: the same way for every page."""

from pathlib import Path

import jinja2
import markupsafe

_HERE = Path(__file__).parent


def environment(folder: str = "") -> jinja2.Environment:
    """The templates of `templates/<folder>`. Values are escaped, a name that is not given is an
    error, and what has been read is not looked at again."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates" / folder),
        autoescape=True,
        auto_reload=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def static(name: str) -> markupsafe.Markup:
    """A file of `static/`, to stand within a page as it is."""
    text = (_HERE / "static" / name).read_text(encoding="utf-8")
    return markupsafe.Markup(text)  # noqa: S704 (our own file)
