"""What the manager's page says: each text in Chinese and in English, side by side.

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
    "back.stores": ("返回门店", "Back to the store"),
    "back.code": ("返回群码", "Back to the code"),
    "busy": ("请稍候…", "One moment…"),
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
    "m.dark_short": ("无可用群码", "no code"),
    "m.seats_short": ("余 {count}", "{count} left"),
    "m.nth_code": ("群码 {n}", "Code {n}"),
    "m.attention": ("{count} 家门店需要您处理", "{count} stores need you"),
    "m.attention_one": ("1 家门店需要您处理", "1 store needs you"),
    "m.test": ("看顾客页面", "Test it"),
    "m.test_label": ("看看{store}的顾客会看到什么", "See what a visitor of {store} sees"),
    "m.poster": ("打印海报", "Poster"),
    "m.poster_label": ("{store}的海报", "Poster of {store}"),
    # What came of it
    "stats": ("扫码与入群", "Scans and joins"),
    "stats.today": ("今天", "Today"),
    "stats.week": ("本周", "This week"),
    "stats.scans": ("扫码", "scans"),
    "stats.joined": ("入群", "joined"),
    # One code
    "code.members": ("成员", "Members"),
    "code.held": ("保留中", "Held"),
    "code.capacity": ("容量", "Capacity"),
    "code.left": ("有效期", "Expires"),
    "code.alt": ("{name}的二维码", "QR code of {name}"),
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
    # What visitors said of it
    "said": ("顾客反映：{what}（最近 {at}）", "Visitors say: {what} (last {at})"),
    "said.full": ("{n} 人说满了", "{n} × full"),
    "said.expired": ("{n} 人说过期了", "{n} × expired"),
    "said.broken": ("{n} 人说打不开", "{n} × does not open"),
    "said.and": ("，", ", "),
    # A code's own page
    "count.title": ("现在有多少人", "Members now"),
    "count.hint": (
        "看一眼微信群名后面的数字，填在这里，名额就准了。",
        "The number after the group’s name in WeChat: with it, the room left is right.",
    ),
    "count.save": ("保存人数", "Save"),
    "renew.title": ("换新图片", "Renew"),
    "renew.page": ("更换{name}", "Renew {name}"),
    "renew.hint": (
        "群码快过期时，在微信里重新生成，把新图片传上来，顺序不变。",
        "When it is about to expire, make a new code in WeChat and send its picture. Its place in "
        "the order stays.",
    ),
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
    "order.title": ("先后顺序", "Order"),
    "order.hint": (
        "第 {n} 个，共 {count} 个。前面的先加满，再轮到后面的。",
        "Number {n} of {count}. The first is filled before the next one’s turn.",
    ),
    "order.up": ("往前移", "Move up"),
    "order.down": ("往后移", "Move down"),
    "edit.title": ("名称、容量和有效期", "Name, capacity and expiry"),
    "edit.label": ("名称（顾客看不到）", "Name (customers do not see it)"),
    "edit.capacity": ("最多多少人", "Room for at most"),
    "edit.expires": ("什么时候过期", "Expires at"),
    "edit.expires_hint": (
        "不过期就留空。时间是{zone}时间。",
        "Leave it empty if it never does. The time zone is {zone}.",
    ),
    "edit.save": ("保存", "Save"),
    "retire": ("停用并移除…", "Retire…"),
    "retire.title": ("停用{name}？", "Retire {name}?"),
    "retire.hint": (
        "停用后它不再出现在这里，也不能恢复；再用时要重新添加。已入群的顾客不受影响；还没加入的顾客再"
        "扫一次，会看到下一个群码。",
        "It leaves this page for good; to use it again, add it anew. Members stay in the group; "
        "customers who have not joined are shown the next code when they scan again.",
    ),
    "retire.yes": ("确定停用", "Retire it"),
    "retire.no": ("不停用", "Keep it"),
    # Adding and renewing
    "add": ("添加群码", "Add a code"),
    "add.label": ("给{store}添加群码", "Add a code to {store}"),
    "add.hint": (
        "拍下群二维码，或选一张截图。下一步先给您看，确认后才生效。",
        "Photograph the group’s QR code, or choose a screenshot. You see it first; nothing is put "
        "up before you confirm.",
    ),
    "add.camera": ("拍照", "Take a photo"),
    "add.album": ("从相册选", "Choose from album"),
    "add.next": ("下一步", "Next"),
    "add.limit": (
        "JPEG、PNG、WebP 或 HEIC，最多 {mb} MB。",
        "JPEG, PNG, WebP or HEIC, {mb} MB at most.",
    ),
    "preview.title": ("确认群码", "Is this the one?"),
    "preview.hint": (
        "顾客看到的就是它：从图片读出，重新画过。",
        "What customers will see: read from your picture, drawn anew.",
    ),
    "preview.members": ("群里现在有多少人", "Members now"),
    "preview.expires_default": (
        "微信群码一般 7 天过期，日期印在群码下方；不一样就改一下。时间是{zone}时间。",
        "A WeChat group’s code usually lives for 7 days; its card says until when. The time zone "
        "is {zone}.",
    ),
    "preview.add": ("确认添加", "Put it up"),
    "preview.renew": ("确认更换", "Renew it"),
    "preview.other": ("换一张图片", "Another picture"),
    "preview.same": (
        "这就是现在的群码：更换会更新有效期，人数不变。",
        "This is the code that is up now: renewing extends its expiry, and its members stay.",
    ),
    "preview.new_group": (
        "这是另一个群，人数从您填的数开始；还没加入的顾客会看到新的群码。",
        "This is another group: it starts with the number you give. Customers who have not joined "
        "yet are shown the new code.",
    ),
    "doubt.in_use_here": (
        "这个群码已经在{store}用着了，不用再添加。",
        "This code is already up at {store}: there is no need to add it.",
    ),
    "doubt.in_use_elsewhere": (
        "这个群码已经在别处使用，不能再添加。请换一个群，或联系总部。",
        "This code is already in use elsewhere and cannot be added. Take another group’s, or ask "
        "HQ.",
    ),
    "doubt.in_use_open": ("去看看它", "Look at it"),
    "doubt.personal": (
        "这是个人微信，不是群：顾客会逐个加这个人为好友。确定要用它吗？",
        "This is a person’s WeChat, not a group: each customer adds that person as a friend. Is "
        "that what you want?",
    ),
    "doubt.used_before": (
        "这个群码以前用过，{at} 停用。群也许已经满了，或者二维码已经失效。",
        "This code was up before, until {at}. The group may be full, or the code may have died.",
    ),
    "doubt.used_before_at": (
        "这个群码以前在{store}用过，{at} 停用。群也许已经满了，或者二维码已经失效。",
        "This code was up at {store} before, until {at}. The group may be full, or the code may "
        "have died.",
    ),
    # What was done
    "done.added": (
        "已添加，顾客扫码就能看到它。",
        "Added. Customers who scan can be shown it from now on.",
    ),
    "done.counted": ("人数已保存。", "The number is saved."),
    "done.edited": ("已保存。", "Saved."),
    "done.renewed": ("已换上新的群码。", "The new code is in its place."),
    "done.paused": ("已暂停，顾客不会再看到它。", "Paused. Customers are no longer shown it."),
    "done.active": ("已恢复。", "Resumed."),
    "done.moved": ("顺序已保存。", "The order is saved."),
    "done.retired": ("已停用。", "Retired."),
    # Testing
    "test.banner": (
        "测试：顾客现在在{store}扫码看到的页面。没有记录扫码，也没有占名额；这里的按钮不起作用。",
        "Test: what a visitor in {store} sees now. No scan is recorded and no seat taken; buttons "
        "do nothing here.",
    ),
    "test.own": ("顾客会看到本店的群码。", "Visitors are shown this store’s code."),
    "test.other": (
        "注意：顾客会被带到{store}。",
        "Mind: visitors are led to {store}.",
    ),
    "test.other_why": (
        "注意：顾客会被带到{store}，因为{why}。",
        "Mind: visitors are led to {store}, because {why}.",
    ),
    "test.fallback": (
        "注意：顾客会看到总部的备用码。",
        "Mind: visitors are shown HQ’s fallback code.",
    ),
    "test.nothing": (
        "注意：顾客看不到任何群码。",
        "Mind: visitors are shown no code at all.",
    ),
    "test.choose": (
        "顾客会看到几家门店，自己选一家。",
        "Visitors are asked which of a few stores they mean.",
    ),
    "test.why.full": ("本店的群码已满", "this store’s codes are full"),
    "test.why.expired": ("本店的群码已过期", "this store’s code has expired"),
    "test.why.paused": ("本店的群码已暂停", "this store’s code is paused"),
    "test.why.reported": ("本店的群码被顾客反映用不了", "customers say that its code fails"),
    "test.why.closed": ("本店已停业", "this store is closed"),
    "test.why.no_code": ("本店还没有群码", "this store has no code yet"),
    "test.no_entry": (
        "总部还没有可以带到本店的活码。",
        "HQ has no entry code yet that leads to this store.",
    ),
    # The poster
    "poster.title": ("打印海报", "Print a poster"),
    "poster.hint": (
        "海报上是品牌统一的活码，印着本店店名；谁扫了这张海报，报表里单独算。",
        "It carries the chain’s unified code and your store’s name; who scans this very poster is "
        "counted apart.",
    ),
    "poster.paper": ("纸张", "Paper"),
    "poster.a4": ("A4（墙上、门口）", "A4 (wall, door)"),
    "poster.a5": ("A5（收银台、桌面）", "A5 (till, table)"),
    "poster.lang": ("语言", "Language"),
    "poster.zh": ("中文为主", "Chinese first"),
    "poster.en": ("英文为主", "English first"),
    "poster.entry": ("活码", "Entry code"),
    "poster.download": ("下载 PDF", "Download PDF"),
    "poster.print_hint": (
        "打印时选“实际大小”。在微信里打不开时，点右上角用浏览器打开，或发到电脑上。",
        "Print it at its actual size. If WeChat does not open it, use the browser, or send it to "
        "a computer.",
    ),
    # What could not be done
    "error.no_image": ("请先选一张二维码图片。", "Choose a picture of the code first."),
    "error.not_a_picture": (
        "这个文件不是能读取的图片。请重新拍照，或者用截图。",
        "This file is no picture that can be read. Take a photograph, or send a screenshot.",
    ),
    "error.too_large": (
        "图片太大，最多 {mb} MB。截图通常就够了。",
        "The picture is too large: {mb} MB at most. A screenshot is usually enough.",
    ),
    "error.too_hard": (
        "这张图片读得太久，没有读出来。请重新拍一张，或者用截图。",
        "This picture took too long to read. Take another one, or send a screenshot.",
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
        "这个二维码不能让顾客入群。请上传微信群或企业微信的群码。",
        "This code does not lead into a group. Take the code of a WeChat or WeCom group.",
    ),
    "error.payment_code": (
        "这是收款码，不是群码。请上传微信群或企业微信的群码。",
        "This is a payment code. Take the code of a WeChat or WeCom group.",
    ),
    "error.entry_code": (
        "这是海报上的活码，不是群码。请上传微信群或企业微信的群码。",
        "This is the code of a poster. Take the code of the group itself.",
    ),
    "error.official_account": (
        "这是公众号或小程序的码，不是群码。请上传微信群或企业微信的群码。",
        "This leads to an official account or mini-program. Take the code of a WeChat or WeCom "
        "group.",
    ),
    "error.qq_group": (
        "这是 QQ 群的码。只能用微信群或企业微信的群码。",
        "This is a QQ group. Only WeChat’s and WeCom’s can be used.",
    ),
    "error.not_https": (
        "这个群码不是微信生成的样子。请在微信里重新生成，再上传。",
        "WeChat does not draw this code so. Make it anew in WeChat.",
    ),
    "error.waited": (
        "这张图片等得太久了，请重新上传。",
        "This picture has waited too long. Please send it again.",
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
    "error.expires_at": (
        "过期时间请填以后的某个时间，不过期就留空。",
        "The expiry must be a time to come; leave it empty if there is none.",
    ),
    "error.label": ("名称最多 60 个字。", "A name has 60 characters at most."),
    "error.other": ("没有保存：{detail}", "Not saved: {detail}"),
}

KEYS = frozenset(_WORDS)


def say(lang: Lang, key: str, **values: object) -> str:
    """The text for `key`, filled. Raises `KeyError` for an unknown key or a missing value."""
    chinese, english = _WORDS[key]
    return (chinese if lang == "zh" else english).format(**values)
