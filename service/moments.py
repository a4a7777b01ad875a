"""Times as people and programs write them."""

from datetime import datetime, timedelta, tzinfo

from service import errors


def instant(
    text: str | None, field: str, timezone: tzinfo, *, end_of_day: bool = False
) -> datetime | None:
    """An ISO 8601 time or date; without an offset it is in the chain's time zone. A date alone is
    its first moment, or, where it ends something (`end_of_day`), the first of the next day.

    Raises `errors.BadInput`.
    """
    text = (text or "").strip()
    if not text:
        return None
    try:
        day_alone = ":" not in text and "T" not in text
        # A "+" that was not escaped in a URL arrives as a space.
        found = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError as error:
        raise errors.BadInput.of(field, "must be an ISO 8601 date or time") from error
    try:
        in_range(found)
    except ValueError as error:
        raise errors.BadInput.of(field, str(error)) from error
    if end_of_day and day_alone:
        found += timedelta(days=1)
    return found if found.tzinfo else found.replace(tzinfo=timezone)


def in_range(moment: datetime) -> datetime:
    """Raises ValueError for years that are nobody's, and that some clock cannot hold."""
    if not 2000 <= moment.year < 2200:
        raise ValueError("the year must be from 2000 to 2199")
    return moment
