"""What the consoles say: each text in Chinese and in English, side by side.

Placeholders in braces are filled by `str.format`; both texts of a pair have the same ones.
"""

from service.web.words import Lang

_WORDS: dict[str, tuple[str, str]] = {
    # Around every page
    "title.hq": ("总部", "HQ"),
    "title.stores": ("门店群码", "Stores and codes"),
    "title.error": ("未完成", "Not done"),
    "nav": ("导航", "Navigation"),
    "skip": ("跳到正文", "Skip to content"),
    "sign_out": ("退出", "Sign out"),
    # What does not go
    "problem.403": ("没有权限", "Not allowed"),
    "problem.403_note": (
        "页面可能已经过期，或者您的密钥不能做这件事。请返回后刷新再试。",
        "The page may be too old, or your key may not do this. Go back, reload, and try again.",
    ),
    "problem.404": ("没有找到", "Not found"),
    "problem.404_note": (
        "它可能已经移走，或者不属于您的门店。",
        "It may be gone, or it does not belong to your stores.",
    ),
    "problem.503": ("请稍等一下", "One moment, please"),
    "problem.503_note": (
        "服务暂时没有响应，请过几秒再试。您的数据没有改变。",
        "The service does not answer just now. Try again in a few seconds; nothing was changed.",
    ),
    "problem.422": ("没有看懂", "Not understood"),
    "problem.422_note": ("请返回检查后再试。", "Go back, check what was entered, and try again."),
    "problem.back": ("返回", "Back"),
    # One code
    "state.serving": ("服务中", "Serving"),
    "state.nearly_full": ("将满", "Nearly full"),
    "state.full": ("已满", "Full"),
    "state.expiring": ("即将过期", "Expiring"),
    "state.expired": ("已过期", "Expired"),
    "state.paused": ("已暂停", "Paused"),
    "state.reported": ("顾客反映加不了", "Customers cannot join"),
}

KEYS = frozenset(_WORDS)


def say(lang: Lang, key: str, **values: object) -> str:
    """The text for `key`, filled. Raises `KeyError` for an unknown key or a missing value."""
    chinese, english = _WORDS[key]
    return (chinese if lang == "zh" else english).format(**values)
