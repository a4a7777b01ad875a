"""The console's charts as figures for plotly: what is drawn, in which colours, in which words.

A figure is `{"data": [...], "layout": {...}}`; `@c1` and its like are the theme's colours, which
the page's script fills in, so that one figure serves light, dark and paper.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

Figure = dict[str, Any]

_HIDDEN: dict[str, Any] = {"visible": False, "fixedrange": True}


def trend(rows: Sequence[Mapping[str, Any]], words: Mapping[str, str]) -> Figure:
    """Scans and joins of each day as bars, one before the other; under them the conversion with its
    95 % interval; the scans of the period before as a dotted line. `words` name the series:
    `scans`, `joined`, `conversion`, `before`."""
    x = [row["key"] for row in rows]
    scans = [row["scans"] for row in rows]
    joined = [row["joined"] for row in rows]
    before = [row["scans_before"] for row in rows]
    value = [row["conversion"] for row in rows]
    low = [row["conversion_low"] for row in rows]
    high = [row["conversion_high"] for row in rows]
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
                "type": "scatter", "mode": "lines", "x": x, "y": before,
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


# ---------------------------------------------------------------- the map

_REASONS = {
    "out_of_range": ("@c4", "circle"),
    "all_full": ("@c1", "square"),
    "expired": ("@c2", "diamond"),
    "denied": ("@c5", "triangle-up"),
    "position_needed": ("@c6", "triangle-down"),
    "no_store": ("@c3", "x"),
    "address_limit": ("@c7", "cross"),
}
# A degree of latitude against one of longitude at 35 degrees north.
_TALLER = 1.22
_LARGEST_PX = 34


def map_of_stores(rows: Sequence[Mapping[str, Any]], key: str, words: Mapping[str, str]) -> Figure:
    """Stores where they are, as large as they are scanned, coloured by `key`: `conversion` or
    `load`. From blue to yellow, which colour-blind people see, too, and which prints."""
    ordered = sorted(rows, key=lambda row: -row["scans"])  # small ones on top
    most = max((row["scans"] for row in ordered), default=0) or 1
    values = [row[key] for row in ordered]
    known = [value for value in values if value is not None]
    top = 1.0 if key == "load" else max(known, default=1.0)
    data: list[dict[str, Any]] = []
    for dark in (False, True):
        found = [row for row in ordered if (row[key] is None) == dark]
        if not found:
            continue
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [round(row["lon"], 4) for row in found],
                "y": [round(row["lat"], 4) for row in found],
                "customdata": [
                    {
                        "url": row["url"],
                        "name": row["name"],
                        "scans": row["scans"],
                        "joined": row["joined"],
                        "conversion": _percent(row["conversion"]),
                        "load": _percent(row["load"]),
                    }
                    for row in found
                ],
                "marker": {
                    "size": [_size(row["scans"], most) for row in found],
                    "opacity": 0.85,
                    "line": {"color": "@card", "width": 1},
                    **(
                        {"color": "@edge", "symbol": "circle-open"}
                        if dark
                        else {
                            "color": [row[key] for row in found],
                            "cmin": 0,
                            "cmax": top,
                            "colorscale": "Cividis",
                            "colorbar": {
                                "title": {"text": words[key]},
                                "tickformat": ".0%",
                                "thickness": 10,
                                "len": 0.5,
                                "x": 1,
                                "xpad": 4,
                                "outlinewidth": 0,
                            },
                        }
                    ),
                },
                "showlegend": False,
                "hovertemplate": "<b>%{customdata.name}</b><br>"
                + "<br>".join(
                    f"{words[name]} %{{customdata.{name}}}"
                    for name in ("scans", "joined", "conversion", "load")
                )
                + "<extra></extra>",
            }
        )
    return {"data": data, "layout": _country(ordered)}


def map_of_unserved(
    rows: Sequence[Mapping[str, Any]], names: Mapping[str, str], scans: str
) -> Figure:
    """Where people found nothing; each reason has a colour and a sign of its own."""
    most = max((row["scans"] for row in rows), default=0) or 1
    sums: dict[str, int] = {}
    for row in rows:
        sums[row["reason"]] = sums.get(row["reason"], 0) + row["scans"]
    data = []
    for reason in sorted(sums, key=lambda reason: -sums[reason]):
        found = [row for row in rows if row["reason"] == reason]
        color, symbol = _REASONS.get(reason, ("@edge", "circle"))
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"{names[reason]} {sums[reason]:,}",
                "x": [row["lon"] for row in found],
                "y": [row["lat"] for row in found],
                "customdata": [{"scans": row["scans"]} for row in found],
                "marker": {
                    "size": [_size(row["scans"], most) for row in found],
                    "color": color,
                    "symbol": symbol,
                    "opacity": 0.75,
                    "line": {"color": "@card", "width": 1},
                },
                "hovertemplate": f"<b>{names[reason]}</b><br>{scans} "
                "%{customdata.scans:,}<extra></extra>",
            }
        )
    return {"data": data, "layout": _country(rows)}


def _size(scans: int, most: int) -> float:
    """Of a marker: its area grows with the scans."""
    return round(max(7.0, _LARGEST_PX * math.sqrt(scans / most)), 1)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _country(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A window on all of them, with equal scales."""
    lons = [row["lon"] for row in rows] or [80.0, 130.0]
    lats = [row["lat"] for row in rows] or [20.0, 50.0]
    edge_x = max(0.6, (max(lons) - min(lons)) * 0.06)
    edge_y = max(0.6, (max(lats) - min(lats)) * 0.06)
    bare = {"showgrid": False, "zeroline": False, "showticklabels": False, "showline": False}
    return {
        "xaxis": {**bare, "range": [min(lons) - edge_x, max(lons) + edge_x]},
        "yaxis": {
            **bare,
            "range": [min(lats) - edge_y, max(lats) + edge_y],
            "scaleanchor": "x",
            "scaleratio": _TALLER,
        },
        "hovermode": "closest",
    }


def stacked(names: Sequence[str], series: Mapping[str, Sequence[float]]) -> Figure:
    """Amounts as bars, one under the other, their parts end to end."""
    places = [str(place) for place in range(len(names))]
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "y": places,
            "x": list(values),
            "customdata": [{"name": of} for of in names],
            "marker": {"color": color},
            "hovertemplate": f"%{{customdata.name}}<br>{name} <b>%{{x:,.2f}}</b><extra></extra>",
        }
        for (name, values), color in zip(series.items(), ("@c1", "@c2", "@c3"), strict=False)
    ]
    return {
        "data": data,
        "layout": {
            "barmode": "stack",
            "bargap": 0.35,
            "xaxis": {"tickformat": ",", "rangemode": "tozero", "nticks": 6},
            "yaxis": {
                "type": "category",
                "autorange": "reversed",
                "tickmode": "array",
                "tickvals": places,
                "ticktext": [_short(name) for name in names],
                "tickfont": {"color": "@ink"},
                "showgrid": False,
            },
        },
    }
