"""Who opens a page, as far as its request says: a person's browser, or a program by itself.

Programs are flagged and counted; they take no seat. Two things give one away: it is no browser
(no engine in its user agent: curl, okhttp, WhatsApp's preview), or it is dressed as one and says
what it is (Googlebot, HeadlessChrome; a URL or an address to complain to).

A user agent is only what a client says of itself. WeChat's servers fetch what its people open or
share (http://blog.codingroad.com/wechat-multiple-requst.html), and no name of theirs is published:
such a fetch can only be told by what it does not do next.

https://www.rfc-editor.org/rfc/rfc9110#section-10.1.5
"""

import re
from collections.abc import Mapping

NAMELESS = "nameless"
"""The bot of a request that says nothing, or nothing legible, of itself: every browser does."""

# The longest of 30,000 people's user agents in device-detector's tests has 419 characters.
_READ_CHARACTERS = 1024

# What only programs say of themselves. Words of people's browsers are not here: "baidu"
# (baiduboxapp), "sogou", "360", "uc", "java" (feature phones), "scan" (QR scanners).
# `in` for each is faster than one pattern of all, and an app's long user agent is not asked for
# the quieter ones: nothing that is named so subtly dresses as WeChat.
_LOUD = ("bot", "spider", "crawl", "://", "headless", "monitor", "preview")
_QUIET = (
    "@",
    "; compatible",  # behind the engine; the old "(compatible; MSIE" stands in front of it
    "google-",
    "-google",
    "search console",
    "cloudflare",
    "check",
    "favicon",
    "lighthouse",
    "page speed",
    "uptime",
    "statuscake",
    "pingdom",
    "synthetic",
    "ptst/",
    "siteimprove",
    "transcoder",
    "phantomjs",
    "jsdom",
    "selenium",
    "playwright",
    "yunjiankong",  # 360's monitor
)
_APPS = ("micromessenger", "aliapp(", "baiduboxapp", "mqqbrowser", "aweme")

# A phone's own name in the first brackets is none of a program's: CUBOT, "B BOT 550", "Spider 8",
# XBot_Senior. Google's Storebot does stand there.
_PHONE = re.compile(r"\((?:linux; )?(?:u; )?android (?:(?!-google)[^()]){0,200}\)")

# CUBOT again: some apps put the maker elsewhere. "bot" ends a word, "HTC_botdugls" is a phone.
_NAME = re.compile(
    r"(?<!cu)bot(?![a-rt-z])|"
    + "|".join(
        re.escape(word.rstrip("/"))
        for word in (*_LOUD, *_QUIET)
        if word not in {"bot", "://", "@", "; compatible"}
    )
)
_LEFT = re.compile(r"[a-z0-9_-]{0,24}\Z")
_RIGHT = re.compile(r"[a-z0-9_-]{0,24}")
_COMPATIBLE = re.compile(r"compatible[; ]{1,3}(?!msie|konqueror)(?=[a-z])")
_URL = re.compile(r"://[^ ;,()]*")
_HOST = re.compile(r"://([a-z0-9.-]{1,48})")
# Ecosia says ios@9.2.3, Taobao 600000@taobao_android_10.48: an address has a dot and a country.
_ADDRESS = re.compile(r"[a-z0-9]@([a-z0-9-]{1,32}\.[a-z]{2}[a-z0-9.-]{0,16})")
_PRODUCT = re.compile(r"[a-z][a-z0-9._-]{0,47}")

# What draws pages. Old phones' browsers name no engine, only what they run on.
_ENGINES = ("applewebkit", "gecko", "trident/", "msie ", "khtml", "webkit", "firefox/", "safari/")
_RUN_ON = ("android ", "iphone", "windows phone")
# Browsers that need not call themselves Mozilla: Opera Mini, UC's thrift mode, feature phones.
_NO_MOZILLA = (
    "opera", "ucweb", "ucbrowser", "midp", "netfront", "obigo", "fban/", "micromessenger"
)  # fmt: skip
_DRAWS = _ENGINES + _RUN_ON + _NO_MOZILLA

# The first that is in a user agent is its family: the more particular come first, as WeCom also
# says MicroMessenger, WeChat also MQQBrowser, Alipay and DingTalk also UCBrowser, all also Chrome.
_BROWSERS = (
    ("wecom", ("wxwork",)),
    ("wechat", ("micromessenger",)),
    ("alipay", ("alipayclient",)),
    ("dingtalk", ("dingtalk",)),
    ("feishu", ("channelname/feishu", "lark/")),
    ("taobao", ("aliapp(tb/",)),
    ("jd", ("jdapp;",)),
    ("meituan", ("meituan", "com.sankuai")),
    ("douyin", ("aweme",)),
    ("toutiao", ("newsarticle/",)),
    ("xiaohongshu", ("xhsdiscover", "discover/")),
    ("kuaishou", ("ksnebula/", "kwai/")),
    ("weibo", ("weibo",)),
    ("baidu", ("baiduboxapp",)),
    ("uc", ("ucbrowser", "ucweb")),
    ("quark", ("quark",)),
    ("qq", (" qq/",)),
    ("qqbrowser", ("qqbrowser",)),
    ("huawei", ("huaweibrowser",)),
    ("xiaomi", ("miuibrowser",)),
    ("vivo", ("vivobrowser",)),
    ("oppo", ("heytapbrowser", "oppobrowser")),
    ("samsung", ("samsungbrowser",)),
    ("edge", ("edg/", "edga/", "edgios/", "edge/")),
    ("opera", ("opr/", "opera")),
    ("firefox", ("firefox/", "fxios/")),
    ("chrome", ("chrome/", "crios/")),
    ("safari", ("safari/",)),
)
_MARKS = tuple((mark, family) for family, marks in _BROWSERS for mark in marks)


def bot_in(user_agent: str) -> str | None:
    """The name that gives a program away, or None for a person's browser.

    The name is lower-case and legible, 1 to 64 of `a-z 0-9 . _ -`, whatever was sent.
    """
    agent = user_agent[:_READ_CHARACTERS].lower()
    for word in _LOUD:
        if word in agent:
            name = _name_in(agent)
            if name is not None:
                return name
            break
    for app in _APPS:
        if app in agent:
            return None
    for word in _QUIET:
        if word in agent:
            name = _name_in(agent)
            if name is not None:
                return name
            break
    for mark in _DRAWS if "mozilla/" in agent else _NO_MOZILLA:
        if mark in agent:
            return None
    return _product_in(agent.partition("mozilla/")[2] or agent)


def browser_in(user_agent: str) -> str | None:
    """The browser's family: what HQ compares, not a version."""
    agent = user_agent[:_READ_CHARACTERS].lower()
    for mark, family in _MARKS:
        if mark in agent:
            return family
    return None


def prefetch_in(headers: Mapping[str, str]) -> bool:
    """Whether a browser asks ahead of its person, who may never come. HEAD is not asked here.

    `Sec-Purpose: prefetch`, also with `;prerender` (https://wicg.github.io/nav-speculation/),
    `Purpose: prefetch` (older Chromes, Safari), `X-Moz: prefetch` (Firefox), `X-Purpose: preview`
    (older Safaris' top sites). `headers` find names in lower case, as Starlette's do.
    """
    for name in ("sec-purpose", "purpose", "x-moz", "x-purpose"):
        said = headers.get(name)
        if said is not None and said.partition(";")[0].strip().lower() in {"prefetch", "preview"}:
            return True
    return False


def _name_in(agent: str) -> str | None:
    """What a suspicious agent calls itself: its name, else whom it answers to."""
    agent = _PHONE.sub(" ", agent, count=1)
    named = _URL.sub(" ", agent)  # openai.com/bot is no name
    found = _NAME.search(named)
    if found:
        start, end = found.span()
        left = _LEFT.search(named[max(0, start - 24) : start])
        right = _RIGHT.match(named, end)
        name = (left[0] if left else "") + found[0] + (right[0] if right else "")
        return name.strip("_-").replace(" ", "-")
    compatible = _COMPATIBLE.search(named)
    if compatible:
        return _product_in(named[compatible.end() :])
    answers_to = _HOST.search(agent) or _ADDRESS.search(agent)
    if answers_to is None:
        return None
    if "mozilla/" not in agent:
        return _product_in(agent)
    return answers_to[1].strip(".-") or NAMELESS


def _product_in(text: str) -> str:
    """The first name in a text."""
    product = _PRODUCT.search(text)
    return product[0] if product else NAMELESS
