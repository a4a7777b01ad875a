"""A position on the earth."""

import math
from dataclasses import dataclass
from typing import Literal


class InvalidPoint(ValueError):
    """A longitude or latitude that no place on earth has."""

    def __init__(self, field: Literal["lon", "lat"], detail: str) -> None:
        super().__init__(detail)
        self.field: Literal["lon", "lat"] = field


@dataclass(frozen=True, slots=True)
class Point:
    """Longitude and latitude in WGS-84 degrees; raises `InvalidPoint` if either is out of range."""

    lon: float
    lat: float

    def __post_init__(self) -> None:
        # one chained comparison is false for NaN and infinities, too: the common case stays cheap
        if not -180 <= self.lon <= 180:
            raise InvalidPoint("lon", _complaint("longitude", self.lon, 180))
        if not -90 <= self.lat <= 90:
            raise InvalidPoint("lat", _complaint("latitude", self.lat, 90))


def _complaint(name: str, value: float, limit: int) -> str:
    if not math.isfinite(value):
        return f"{name} {value} is not a number"
    return f"{name} {value} is not between -{limit} and {limit} degrees"
