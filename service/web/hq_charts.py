"""The console's charts as figures for plotly: what is drawn, in which colours, in which words.

A figure is `{"data": [...], "layout": {...}}`; `@c1` and its like are the theme's colours, which
the page's script fills in, so that one figure serves light, dark and paper.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

Figure = dict[str, Any]

_HIDDEN: dict[str, Any] = {"visible": False, "fixedrange": True}


def trend(
    days: Sequence[date],
    rows: Mapping[date, Mapping[str, Any]],
    before: Sequence[int | None],
    words: Mapping[str, str],
) -> Figure:
    """Scans and joins of each day as bars, one before the other; under them the conversion with its
    95 % interval. `before`: the scans of as many days before, a dotted line. `words` name the
    series: `scans`, `joined`, `conversion`, `before`."""
    x = [day.isoformat() for day in days]
    found = [rows.get(day, {}) for day in days]
    scans = [row.get("scans", 0) for row in found]
    joined = [row.get("joined", 0) for row in found]
    value = [row.get("conversion") for row in found]
    low = [row.get("conversion_low") for row in found]
    high = [row.get("conversion_high") for row in found]
    data: list[dict[str, Any]] = [
        {
            "type": "bar", "x": x, "y": scans, "name": words["scans"],
            "marker": {"color": "@pale"}, "hovertemplate": "%{y:,}",
        },
        {
            "type": "bar", "x": x, "y": joined, "name": words["joined"],
            "marker": {"color": "@c1"}, "hovertemplate": "%{y:,}",
        },
    ]  # fmt: skip
    if any(before):
        data.append(
            {
                "type": "scatter", "mode": "lines", "x": x, "y": list(before),
                "name": words["before"], "hovertemplate": "%{y:,}",
                "line": {"color": "@edge", "width": 1.5, "dash": "dot"},
            }
        )  # fmt: skip
    band: dict[str, Any] = {
        "type": "scatter", "mode": "lines", "x": x, "yaxis": "y2", "hoverinfo": "skip",
        "showlegend": False, "line": {"width": 0},
    }  # fmt: skip
    data += [
        {**band, "y": low},
        {**band, "y": high, "fill": "tonexty", "fillcolor": "@band"},
        {
            "type": "scatter", "mode": "lines+markers", "x": x, "y": value, "yaxis": "y2",
            "name": words["conversion"], "hovertemplate": "%{y:.1%}",
            "line": {"color": "@c4", "width": 2}, "marker": {"size": 4},
        },
    ]  # fmt: skip
    return {
        "data": data,
        "layout": {
            "barmode": "overlay",
            "bargap": 0.25,
            "hovermode": "x unified",
            "xaxis": {"type": "date", "tickformat": "%m-%d", "anchor": "y2", "nticks": 10,
                      "hoverformat": "%Y-%m-%d", "showgrid": False},
            "yaxis": {"domain": [0.36, 1], "rangemode": "tozero", "tickformat": ",d", "nticks": 5},
            "yaxis2": {"domain": [0, 0.26], "tickformat": ".0%", "rangemode": "tozero",
                       "nticks": 4},
        },
    }  # fmt: skip


def intervals(
    names: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    key: str,
    *,
    urls: Sequence[str | None] = (),
    percent: bool = True,
) -> Figure:
    """Values with their intervals, one under the other, in the order given."""
    values = [row[key] for row in rows]
    lows = [row[f"{key}_low"] for row in rows]
    highs = [row[f"{key}_high"] for row in rows]
    form = ".1%" if percent else ",.2f"
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "markers",
                "x": values,
                "y": [str(place) for place in range(len(names))],
                "customdata": [
                    {"url": url, "low": low, "high": high, "name": name}
                    for url, low, high, name in zip(
                        urls or [None] * len(names), lows, highs, names, strict=True
                    )
                ],
                "marker": {"color": "@c1", "size": 9},
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": [_above(h, v) for h, v in zip(highs, values, strict=True)],
                    "arrayminus": [_above(v, lo) for v, lo in zip(values, lows, strict=True)],
                    "color": "@c1",
                    "thickness": 2,
                    "width": 4,
                },
                "hovertemplate": "%{customdata.name}<br><b>%{x:" + form + "}</b> "
                "(%{customdata.low:" + form + "} – %{customdata.high:" + form + "})<extra></extra>",
            }
        ],
        "layout": {
            "xaxis": {"tickformat": ".0%" if percent else ",", "rangemode": "tozero", "nticks": 6},
            "yaxis": {
                "type": "category",
                "autorange": "reversed",
                "tickmode": "array",
                "tickvals": [str(place) for place in range(len(names))],
                "ticktext": [_short(name) for name in names],
                "tickfont": {"color": "@ink"},
                "showgrid": False,
            },
        },
    }


def _above(high: float | None, low: float | None) -> float:
    return 0.0 if high is None or low is None else max(0.0, high - low)


def _short(name: str, most: int = 18) -> str:
    """Of a long name as much as an axis has room for; Chinese letters count twice."""
    width, kept = 0, ""
    for letter in name:
        width += 2 if ord(letter) > 0x2E80 else 1
        if width > 2 * most:
            return kept + "…"
        kept += letter
    return kept
