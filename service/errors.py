"""What can go wrong, as facts: one tree, each with its HTTP status.

```
NearcodeError
├─ BadInput             422  names the fields
├─ NotSignedIn          401
├─ NotAllowed           403
├─ NotFound             404  also: outside one's chain or stores
├─ Conflict             409
├─ Gone                 410  a link that was used, revoked, or is too old
├─ TooLarge             413
├─ TooManyAttempts      429  says when to try again
├─ Unavailable          503  the database does not answer; says when to try again
├─ SchemaOutdated       503  the database is older than the program
├─ PortInUse            -    the command line only
└─ SetupError           -    the command line only
```

`http/problems.py` turns them into `application/problem+json` (RFC 9457).
"""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field of the input; `reason` is a word for programs, where there is
    one."""

    field: str
    detail: str
    reason: str | None = None


class NearcodeError(Exception):
    """Root of the tree. `detail` is a sentence for a person."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class BadInput(NearcodeError):
    """The input can't be used; `errors` says which field and why. Nothing was changed."""

    status = 422
    title = "The input is not valid"

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{e.field}: {e.detail}" for e in errors))
        self.errors = errors

    @classmethod
    def of(cls, field: str, detail: str, reason: str | None = None) -> "BadInput":
        return cls(FieldError(field, detail, reason))


class NotSignedIn(NearcodeError):
    status = 401
    title = "A key or a session is needed"


class NotAllowed(NearcodeError):
    status = 403
    title = "This is not for this caller"


class NotFound(NearcodeError):
    status = 404
    title = "There is no such thing"


class Conflict(NearcodeError):
    status = 409
    title = "It stands against what is there"


class Gone(NearcodeError):
    status = 410
    title = "This is over"


class TooLarge(NearcodeError):
    status = 413
    title = "The upload is too large"


class TooManyAttempts(NearcodeError):
    status = 429
    title = "Too many attempts"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Unavailable(NearcodeError):
    status = 503
    title = "Not available just now"

    def __init__(self, detail: str, *, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class SchemaOutdated(Unavailable):
    title = "The database must be migrated"


class SetupError(NearcodeError):
    """A setting or the machine stands in the way; `detail` says what to mend."""


class PortInUse(SetupError):
    """Another program listens on the port."""
