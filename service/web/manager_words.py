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
}

KEYS = frozenset(_WORDS)


def say(lang: Lang, key: str, **values: object) -> str:
    """The text for `key`, filled. Raises `KeyError` for an unknown key or a missing value."""
    chinese, english = _WORDS[key]
    return (chinese if lang == "zh" else english).format(**values)
