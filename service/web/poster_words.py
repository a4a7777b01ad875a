"""What a shop's poster says: each text in Chinese and in English, side by side."""

from service.web.words import Lang

_WORDS: dict[str, tuple[str, str]] = {
    "title": ("扫码加入微信群", "Scan to join our WeChat group"),
    "step.1": ("打开微信扫一扫", "Scan with WeChat"),
    "step.2": ("看到最近的群码", "See the nearest group"),
    "step.3": ("长按识别，加入", "Press and hold to join"),
    "document": ("{store}海报", "Poster of {store}"),
}

KEYS = frozenset(_WORDS)


def say(lang: Lang, key: str, **values: object) -> str:
    """The text for `key`, filled. Raises `KeyError` for an unknown key or a missing value."""
    chinese, english = _WORDS[key]
    return (chinese if lang == "zh" else english).format(**values)
