"""Warnings in words, for managers' and HQ's pages: what is wrong, and what to do.

`sentence` says what is wrong with whose code, `advice` what mends it; both of a row that
`warnings.open_for` gives.
"""

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from service.web.words import Lang

_WORDS: dict[str, tuple[str, str]] = {
    "kind.filling": ("快满了", "Filling up"),
    "kind.nearly_full": ("即将满员", "Nearly full"),
    "kind.full": ("已满", "Full"),
    "kind.expiring": ("即将过期", "Expires soon"),
    "kind.expiring_soon": ("马上过期", "Expires very soon"),
    "kind.expired": ("已过期", "Expired"),
    "kind.reported": ("顾客反映用不了", "Visitors say it fails"),
    "kind.not_serving": ("没有可用的群码", "No code to show"),
    "severity.notice": ("提醒", "Notice"),
    "severity.warning": ("注意", "Warning"),
    "severity.critical": ("紧急", "Urgent"),
    "filling": (
        "{code}已有 {taken} 人，容量 {capacity}（{percent}%）",
        "{code} has {taken} of {capacity} ({percent} %)",
    ),
    "nearly_full": (
        "{code}已有 {taken} 人，容量 {capacity}（{percent}%），马上就满",
        "{code} has {taken} of {capacity} ({percent} %) and is about to be full",
    ),
    "full": (
        "{code}已满（{taken}/{capacity}），不再展示给顾客",
        "{code} is full ({taken} of {capacity}) and is shown to nobody",
    ),
    "expiring": ("{code}将于 {at} 过期", "{code} expires at {at}"),
    "expiring_soon": ("{code}将于 {at} 过期，不到半天", "{code} expires at {at}, within hours"),
    "expired": ("{code}已于 {at} 过期，不再展示给顾客", "{code} expired at {at}: nobody sees it"),
    "reported": (
        "多位顾客反映{code}用不了，已自动暂停",
        "Several visitors say that {code} does not work; it was paused",
    ),
    "not_serving": (
        "现在没有可用的群码，顾客会被带到别的门店",
        "No code can be shown now: visitors are sent to other stores",
    ),
    "advice.filling": ("准备好下一个群", "Get the next group ready"),
    "advice.nearly_full": ("请添加下一个群码", "Add the next code"),
    "advice.full": ("请添加新的群码，或更新人数", "Add a new code, or correct the head count"),
    "advice.expiring": ("请更新群码图片", "Put up a new picture"),
    "advice.expiring_soon": ("请今天更新群码图片", "Put up a new picture today"),
    "advice.expired": ("请更新群码图片", "Put up a new picture"),
    "advice.reported": (
        "请查看：更新图片、更正人数，或恢复使用",
        "Have a look: a new picture, the head count, or resume it",
    ),
    "advice.not_serving": ("请添加或更新群码", "Add or renew a code"),
    "the_code": ("群码", "the code"),
    "the_named_code": ("群码「{label}」", "the code “{label}”"),
}

KEYS = frozenset(_WORDS)


def say(lang: Lang, key: str, **values: object) -> str:
    """The text for `key`, filled. Raises `KeyError` for an unknown key or a missing value."""
    chinese, english = _WORDS[key]
    return (chinese if lang == "zh" else english).format(**values)


def sentence(lang: Lang, warning: Mapping[str, Any], timezone: tzinfo) -> str:
    """What is wrong, with the code's numbers as they are now; the store is not named."""
    kind, label = warning["kind"], warning["label"]
    values: dict[str, object] = {
        "code": say(lang, "the_named_code", label=label) if label else say(lang, "the_code")
    }
    if warning["capacity"]:
        taken = warning["members"] + warning["held"]
        percent = 100 * taken // warning["capacity"]
        values |= {"taken": taken, "capacity": warning["capacity"], "percent": percent}
    if warning["expires_at"]:
        values["at"] = _moment(lang, warning["expires_at"].astimezone(timezone))
    text = say(lang, kind, **{"taken": "", "capacity": "", "percent": "", "at": "", **values})
    return text[0].upper() + text[1:]


def advice(lang: Lang, warning: Mapping[str, Any]) -> str:
    """What mends it."""
    return say(lang, f"advice.{warning['kind']}")


def _moment(lang: Lang, at: datetime) -> str:
    if lang == "zh":
        return f"{at.month}月{at.day}日 {at:%H:%M}"
    return f"{at:%H:%M} on {at.day} {at:%B}"
