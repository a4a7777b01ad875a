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
    # Signing in
    "sign_in.hq": ("总部登录", "Sign in to HQ"),
    "sign_in.m": ("店长登录", "Sign in to your stores"),
    "sign_in.key": ("密钥", "Key"),
    "sign_in.button": ("登录", "Sign in"),
    "sign_in.hint_hq": (
        "密钥以 nck_ 开头：启动演示时会显示在终端里，也可以用 nearcode key create 新建。",
        "A key begins with nck_. The demo shows it in the terminal when it starts; "
        "nearcode key create makes a new one.",
    ),
    "sign_in.hint_m": (
        "密钥以 nck_ 开头，由总部发给您。登录一次，这部手机 90 天内不用再登录。",
        "A key begins with nck_; HQ gives you yours. Once signed in, this phone stays so for "
        "90 days.",
    ),
    "sign_in.other_hq": ("我是店长", "I manage a store"),
    "sign_in.other_m": ("我是总部", "I am from HQ"),
    "sign_in.wrong": (
        "这个密钥不对，或者已经停用。请完整复制后再试一次。",
        "This key is not known, or it was revoked. Copy the whole of it and try again.",
    ),
    "sign_in.needed": (
        "登录已失效，请重新登录后再操作一次。",
        "You are no longer signed in. Please sign in and do it once more.",
    ),
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
    # A manager's stores
    "m.title": ("我的门店", "My stores"),
    "m.title_hq": ("门店群码", "Stores and codes"),
    "m.search": ("店名、编号或地址", "Name, number or address"),
    "m.find": ("搜索", "Search"),
    "m.all": ("全部门店", "All stores"),
    "m.next": ("下一页", "Next page"),
    "m.first": ("回到第一页", "First page"),
    "m.none": ("没有找到门店", "No store found"),
    "m.none_note": (
        "换个词试试；如果您的门店不在这里，请联系总部。",
        "Try another word. If a store of yours is missing, ask HQ.",
    ),
    "m.closed": ("已停业", "closed"),
    "m.seats": ("还能再加入 {count} 人", "Room for {count} more"),
    "m.seats_one": ("还能再加入 1 人", "Room for 1 more"),
    "m.dark": (
        "没有可用的群码，顾客会被带到附近的其他门店。",
        "No code can serve: customers are led to other stores nearby.",
    ),
    "m.no_code": (
        "还没有群码。添加一张，扫码的顾客就会来到这里。",
        "No code yet. Add one, and customers who scan are led here.",
    ),
    "m.nth_code": ("群码 {n}", "Code {n}"),
    # One code
    "code.members": ("成员", "Members"),
    "code.held": ("保留中", "Held"),
    "code.capacity": ("容量", "Capacity"),
    "code.left": ("有效期", "Expires"),
    "code.alt": ("{name}的二维码", "QR code of {name}"),
    "code.manage": ("修改", "Change"),
    "code.manage_label": ("修改 {name}", "Change {name}"),
    "code.until": ("{at} 过期", "Expires {at}"),
    "code.expired_at": ("{at} 已过期", "Expired {at}"),
    "code.no_end": ("不过期", "No expiry"),
    "left.none": ("不过期", "never"),
    "left.over": ("已过期", "over"),
    "left.days": ("{n} 天", "{n} days"),
    "left.hours": ("{n} 小时", "{n} hours"),
    "left.soon": ("不到 1 小时", "under 1 hour"),
    "kind.wecom_group": ("企业微信群活码", "WeCom group code"),
    "kind.wechat_group": ("微信群码", "WeChat group code"),
    "kind.wecom_contact": ("企业微信联系人", "WeCom contact"),
    "kind.wecom_acquisition": ("企业微信获客链接", "WeCom acquisition link"),
    "kind.wechat_personal": ("个人微信", "Personal WeChat"),
    "state.serving": ("服务中", "Serving"),
    "state.nearly_full": ("将满", "Nearly full"),
    "state.full": ("已满", "Full"),
    "state.expiring": ("即将过期", "Expiring"),
    "state.expired": ("已过期", "Expired"),
    "state.paused": ("已暂停", "Paused"),
    "state.reported": ("顾客反映加不了", "Customers cannot join"),
    # Forms
    "count.members": ("群里现在有多少人", "Members now"),
    "count.capacity": ("最多多少人", "Room for at most"),
    "count.save": ("保存人数", "Save numbers"),
    "renew.image": ("换一张新的二维码", "Renew with a new picture"),
    "renew.hint": (
        "群码快过期时，在微信里重新生成，把新图片传上来。顺序和容量不变；换成另一个群时，人数从 0 "
        "开始。",
        "When a code is about to expire, make a new one in WeChat and send its picture. Order and "
        "capacity stay; another group starts with 0 members.",
    ),
    "renew.button": ("更换", "Renew"),
    "pause": ("暂停加人", "Pause"),
    "pause.hint": (
        "暂停后，新来的顾客会看到下一个群码。",
        "While it is paused, new customers see the next code.",
    ),
    "resume": ("恢复服务", "Resume"),
    "resume.hint": (
        "恢复后，顾客又能看到这个群码。",
        "Once resumed, customers see this code again.",
    ),
    "add": ("添加群码", "Add a code"),
    "add.label": ("给{store}添加群码", "Add a code to {store}"),
    "add.image": ("二维码图片", "Picture of the code"),
    "add.image_hint": (
        "截图或拍照都可以：JPEG 或 PNG，最多 {mb} MB。",
        "A screenshot or a photograph: JPEG or PNG, {mb} MB at most.",
    ),
    "add.capacity": ("最多多少人（可不填）", "Room for at most (optional)"),
    "add.capacity_hint": ("不填就是 {count} 人。", "{count} if you leave it empty."),
    "add.button": ("上传", "Upload"),
    # What was done
    "done.added": (
        "已添加，顾客扫码就能看到它。",
        "Added. Customers who scan can be shown it from now on.",
    ),
    "done.counted": ("人数已保存。", "The numbers are saved."),
    "done.renewed": ("已换上新的二维码。", "The new code is in its place."),
    "done.paused": ("已暂停，顾客不会再看到它。", "Paused. Customers are no longer shown it."),
    "done.active": ("已恢复。", "Resumed."),
    # What could not be done
    "error.no_image": ("请先选一张二维码图片。", "Choose a picture of the code first."),
    "error.not_a_picture": (
        "这个文件不是能读取的图片。请用 JPEG 或 PNG；iPhone 的 HEIC 照片可以先截图再传。",
        "This file is no picture that can be read. Use JPEG or PNG; instead of an iPhone’s HEIC "
        "photo, send a screenshot of it.",
    ),
    "error.too_large": (
        "图片太大，最多 {mb} MB。截图通常就够了。",
        "The picture is too large: {mb} MB at most. A screenshot is usually enough.",
    ),
    "error.no_code": (
        "图片里没有找到二维码。请拍正、拍清楚、拍完整，或者直接用截图。",
        "No QR code was found in the picture. Take it straight, sharp and whole, or send a "
        "screenshot.",
    ),
    "error.several_codes": (
        "图片里不止一个二维码，请只截取群码那一个。",
        "There is more than one QR code in the picture. Cut out the one that is meant.",
    ),
    "error.unknown_payload": (
        "这个二维码不能让顾客入群。请上传微信群或企业微信的群码，收款码、公众号、小程序码和海报上的活"
        "码都不行。",
        "This code does not lead into a group. Upload the code of a WeChat or WeCom group: no "
        "payment code, official account, mini-program, or the code of a poster.",
    ),
    "error.in_use": (
        "这个二维码已经在用了，请换一个群的二维码。",
        "This code is already in use. Take another group’s code.",
    ),
    "error.members": (
        "人数请填 0 或更大的整数。",
        "Members must be a whole number, 0 or more.",
    ),
    "error.capacity": (
        "最多人数请填整数；一个群最多 {count} 人。",
        "Capacity must be a whole number from 1; a group takes {count} at most.",
    ),
    "error.other": ("没有保存：{detail}", "Not saved: {detail}"),
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
