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
    # HQ
    "hq.title": ("总览", "Overview"),
    "hq.today": ("今天", "Today"),
    "hq.month": ("近 30 天", "Last 30 days"),
    "hq.week": ("近 7 天", "Last 7 days"),
    "hq.nothing_title": ("近 30 天还没有人扫码", "No scans in the last 30 days"),
    "hq.nothing_note": (
        "用手机扫这个码，或在浏览器里打开链接，试一次顾客的路：数字马上出现在这里。",
        "Scan this with a phone, or open the link, and walk the visitor’s way once: the numbers "
        "appear here at once.",
    ),
    "hq.nothing_no_entry": (
        "先建一个活码：POST /api/v1/entries，再把它印在海报上。",
        "First make an entry code, by POST /api/v1/entries, and print it on your posters.",
    ),
    "hq.open_visitor": ("打开顾客页面", "Open the visitor’s page"),
    "hq.stores": ("门店", "Stores"),
    "hq.stores_open": ("{count} 家营业", "{count} open"),
    "hq.serving": ("可接待的门店", "Stores that can serve"),
    "hq.serving_of": ("占营业门店 {share}", "{share} of open stores"),
    "hq.codes": ("群码", "Codes"),
    "hq.codes_serving": ("{count} 个可以加人", "{count} take members"),
    "hq.seats": ("剩余名额", "Seats left"),
    "hq.seats_note": ("能用的群码里", "in codes that can serve"),
    "hq.codes_by_state": ("群码状态", "Codes by state"),
    "hq.state": ("状态", "State"),
    "hq.count": ("数量", "Number"),
    "hq.share": ("占比", "Share"),
    "hq.dark": ("需要处理的门店", "Stores that need a code"),
    "hq.dark_note": (
        "这些营业中的门店没有可用的群码，顾客会被带到别处。",
        "These open stores have no code that can serve: their customers are led elsewhere.",
    ),
    "hq.dark_none": (
        "所有营业中的门店都有可用的群码。",
        "Every open store has a code that can serve.",
    ),
    "hq.dark_more": ("还有 {count} 家", "{count} more"),
    "hq.why_no_code": ("还没有群码", "no code yet"),
    "stage": ("环节", "Stage"),
    "stage.scans": ("扫码", "Scanned"),
    "stage.located": ("已定位", "Located"),
    "stage.shown": ("看到群码", "Shown a code"),
    "stage.pressed": ("长按识别", "Pressed"),
    "stage.joined": ("入群", "Joined"),
    "funnel.scans": ("次数", "Scans"),
    "funnel.share": ("占扫码", "Of scans"),
    "conversion": ("转化率", "Conversion"),
    "conversion.interval": ("95% 区间 {low} – {high}", "95 % interval {low} – {high}"),
    "conversion.range": ("95% 区间", "95 % interval"),
    "conversion.none": ("还没有扫码", "no scans yet"),
    "conversion.note": (
        "转化率 = 入群 ÷ 扫码，不含爬虫。95% 区间：扫码越少，区间越宽。",
        "Conversion = joined / scanned, bots left out. The fewer scans, the wider its 95 % "
        "interval.",
    ),
    "by.title": ("明细", "In detail"),
    "by.city": ("按城市", "By city"),
    "by.store": ("按门店", "By store"),
    "by.placement": ("按投放", "By placement"),
    "by.day": ("按日期", "By day"),
    "by.label": ("分组", "Group by"),
    "since.label": ("时间", "Period"),
    "key.city": ("城市", "City"),
    "key.store": ("门店", "Store"),
    "key.placement": ("投放", "Placement"),
    "key.day": ("日期", "Day"),
    "none.city": ("城市未知", "Unknown city"),
    "none.store": ("没有分到门店", "Led to no store"),
    "none.placement": ("没有标明投放", "No placement named"),
    "none.day": ("日期未知", "Unknown day"),
    "rows.cut": (
        "只列出扫码最多的 {shown} 行，共 {count} 行；全部在 CSV 里。",
        "The {shown} rows with the most scans, of {count}; the CSV has them all.",
    ),
    "rows.none": ("这段时间没有扫码。", "No scans in this period."),
    "bar.label": ("扫码与入群", "Scanned and joined"),
    "csv": ("下载 CSV", "Download CSV"),
    "unserved.title": ("没接待到的顾客", "Visitors left unserved"),
    "unserved.note": (
        "扫了码却没看到群码的顾客，在哪里、为什么。",
        "Where visitors scanned and were shown no code, and why.",
    ),
    "unserved.reason": ("原因", "Reason"),
    "unserved.none": (
        "这段时间，每位找码的顾客都看到了群码。",
        "In this period every visitor who looked for a code was shown one.",
    ),
    "reason.out_of_range": ("附近没有门店", "No store in range"),
    "reason.all_full": ("附近的群都满了", "All codes nearby were full"),
    "reason.address_limit": ("同一网络占用的名额太多", "Too many seats held by one network"),
    "reason.no_store": ("没有能接待的门店", "No store could serve"),
    "reason.position_needed": ("没有拿到位置", "Position not given"),
    "reason.denied": ("拒绝了定位，没有选店", "Refused the position, chose no store"),
    "entries.title": ("活码", "Entry codes"),
    "entries.note": (
        "印在海报上的码：永久有效，扫码的人会看到最近的、有空位的群。",
        "What is printed on posters: permanent, and leads to the nearest group that has room.",
    ),
    "entries.none": ("还没有活码。", "No entry code yet."),
    "entries.alt": ("活码「{name}」", "Entry code “{name}”"),
    "entries.placements": ("投放（{count}）", "Placements ({count})"),
    "entries.placements_cut": (
        "只列出前 {count} 个，其余请用 API。",
        "The first {count}; the others are in the API.",
    ),
    "entries.download_of": ("下载「{name}」的 {form}", "Download the {form} of “{name}”"),
    "channel.poster": ("海报", "Poster"),
    "channel.package_card": ("随单卡", "Package card"),
    "channel.sms": ("短信", "SMS"),
    "channel.online_ad": ("线上广告", "Online ad"),
}

KEYS = frozenset(_WORDS)


def say(lang: Lang, key: str, **values: object) -> str:
    """The text for `key`, filled. Raises `KeyError` for an unknown key or a missing value."""
    chinese, english = _WORDS[key]
    return (chinese if lang == "zh" else english).format(**values)
