"""What the visitor's page says: each text in Chinese and in English, side by side.

Placeholders in braces are filled by `str.format`; both texts of a pair have the same ones.
"""

from typing import Literal

Lang = Literal["zh", "en"]

_WORDS: dict[str, tuple[str, str]] = {
    # While the visitor's position is asked for
    "locate.title": ("为您找最近的门店群", "Finding the group nearest to you"),
    "locate.why": (
        "请允许获取位置：我们只用它找出离您最近、还有空位的群，不会长期保存您的精确位置。",
        "Please allow your location. We use it only to find the nearest store’s group that has "
        "room, and do not keep your exact position.",
    ),
    "locate.gone": (
        "刚才的群码已停用，为您重新查找。",
        "The code you were shown is no longer in use. Let us find you another.",
    ),
    "locate.button": ("使用我的位置", "Use my location"),
    "locate.by_network": ("按网络位置查找", "Find it by my network address"),
    "locate.again": ("重新定位", "Locate me again"),
    "locate.choose": ("自己选择门店", "Choose a store myself"),
    "locate.no_script": (
        "您的浏览器没有运行脚本，将按网络位置查找，可能不够准确。",
        "Your browser runs no scripts, so we go by your network address, which may be off.",
    ),
    "step.asking": ("请在弹窗中选择「允许」…", "Please tap “Allow” when asked…"),
    "step.finding": ("正在确定您的位置…", "Getting your position…"),
    "step.network": (
        "没有拿到定位，正在按网络位置查找…",
        "No position from your phone. Trying your network address…",
    ),
    "step.routing": ("正在找有空位的群…", "Looking for a group with room…"),
    "step.refused": (
        "没有拿到您的位置。您可以在手机设置里允许定位后再试，或直接选择门店。",
        "We could not get your position. Allow location in your phone’s settings and try again, "
        "or simply choose a store.",
    ),
    "step.failed": (
        "暂时没能确定您的位置，请再试一次，或直接选择门店。",
        "Your position could not be found just now. Please try again, or choose a store.",
    ),
    # The code
    "code.nearest": ("离您最近的门店", "Your nearest store"),
    "code.maybe_nearest": ("可能离您最近的门店", "Probably your nearest store"),
    "code.in_area": ("为您服务的门店", "The store that serves your area"),
    "code.chosen": ("您选择的门店", "The store you chose"),
    "code.returning": ("欢迎回来", "Welcome back"),
    "code.next_store": ("为您找到的下一家", "The next store for you"),
    "code.next_code": ("为您找到的下一个群", "The next group for you"),
    "code.fallback": ("欢迎加入", "You are welcome here"),
    "code.fallback_note": (
        "您附近暂时没有可以加入的门店群，先用这个码联系我们吧。",
        "No store near you has a group to join just now. You can reach us by this code instead.",
    ),
    "code.passed_store": ("{why}，这是最近的下一家。", "{why}. This is the next nearest store."),
    "code.passed_store_far": (
        "{why}，这是离您最近的下一家，{far}。",
        "{why}. This is the next nearest store, {far}.",
    ),
    "code.passed_code": ("{why}，已为您换到下一个码。", "{why}. Here is the next code."),
    "code.passed_fallback": (
        "{why}，附近也没有其他空位，先用这个码联系我们吧。",
        "{why}, and there is no room nearby. You can reach us by this code instead.",
    ),
    "code.alt": ("{name}的二维码，长按识别", "QR code of {name}: press and hold to join"),
    "code.how_group": ("长按识别二维码入群", "Press and hold the code to join the group"),
    "code.how_contact": ("长按识别二维码加好友", "Press and hold the code to add us"),
    "code.how_desktop": ("请用手机微信扫一扫上方二维码", "Scan the code with WeChat on your phone"),
    "code.how_elsewhere": (
        "不在微信里？请长按保存图片，再用微信「扫一扫」从相册识别。",
        "Not in WeChat? Press and hold to save the picture, then open it with WeChat’s Scan.",
    ),
    "code.joined_group": ("我已入群", "I have joined"),
    "code.joined_contact": ("我已添加", "I have added it"),
    "code.thanks_group": ("谢谢，欢迎入群！", "Thank you, and welcome!"),
    "code.thanks_contact": ("谢谢，欢迎添加！", "Thank you, and welcome!"),
    "code.next": ("领取优惠", "Get your offer"),
    "code.held": ("名额为您保留到 {at}", "Your place is kept until {at}"),
    "code.expires": ("此二维码 {at} 前有效", "This code works until {at}"),
    "code.elsewhere": ("不是这家店？", "Not this store?"),
    "code.broken": ("这个码用不了？", "This code does not work?"),
    "code.broken_how": (
        "告诉我们原因，马上为您换一个：",
        "Tell us what is wrong and we show you the next one:",
    ),
    "code.full": ("群已满", "The group is full"),
    "code.expired": ("二维码过期", "The code has expired"),
    "code.unreadable": ("无法识别", "It cannot be read"),
    # Why the nearer store was passed over
    "passed.full": ("「{name}」的群已满", "The group of “{name}” is full"),
    "passed.expired": ("「{name}」的群码已过期", "The code of “{name}” has expired"),
    "passed.paused": ("「{name}」暂停加群", "The group of “{name}” takes nobody in just now"),
    "passed.closed": ("「{name}」暂不营业", "“{name}” is closed"),
    "passed.reported": ("「{name}」的群码用不了", "The code of “{name}” does not work"),
    "passed.no_code": ("「{name}」还没有群", "“{name}” has no group yet"),
    # Several stores may be meant
    "choose.title": ("您在哪家门店？", "Which store are you at?"),
    "choose.near": (
        "这几家都离您不远，请点一家。",
        "These stores are all close to you. Tap one.",
    ),
    "choose.ip": (
        "网络位置只能看出大概，请点一家；用手机定位会更准。",
        "Your network address shows only roughly where you are. Tap a store; your phone’s "
        "position is more exact.",
    ),
    "choose.ip_place": (
        "网络位置显示您大约在{place}，请点一家；用手机定位会更准。",
        "By your network address you are somewhere around {place}. Tap a store; your phone’s "
        "position is more exact.",
    ),
    "choose.unknown": (
        "没有拿到您的位置，请搜索门店，或从下面点一家。",
        "We do not know where you are. Search for your store, or tap one below.",
    ),
    "choose.nothing": (
        "没有拿到您的位置。请再试一次，或搜索门店。",
        "We do not know where you are. Please try again, or search for your store.",
    ),
    "choose.others": ("其他门店", "Other stores"),
    # Nothing can serve
    "unserved.out_of_range": ("您附近还没有门店群", "No group near you yet"),
    "unserved.out_of_range_note": (
        "离您远一些的门店也欢迎您；如果位置不对，请重新定位或搜索。",
        "Stores farther away welcome you, too. If the position is wrong, locate again or search.",
    ),
    "unserved.all_full": ("附近的群暂时都满了", "The groups near you are full just now"),
    "unserved.all_full_note": (
        "名额会陆续放出，您可以稍后再试，或先加入别家门店的群。",
        "Places become free from time to time: try again later, or join another store’s group.",
    ),
    "unserved.address_limit": ("这个网络的名额已用完", "Too many places for one network"),
    "unserved.address_limit_note": (
        "请关掉 Wi-Fi 用手机流量再试，或者过几分钟再来。",
        "Please switch from Wi-Fi to mobile data and try again, or come back in some minutes.",
    ),
    "unserved.no_store": ("门店群还没有准备好", "The groups are not ready yet"),
    "unserved.no_store_note": (
        "请稍后再来，或问问店员。谢谢您的耐心！",
        "Please come back later, or ask the staff. Thank you for your patience!",
    ),
    "unserved.position_needed": ("您在哪里？", "Where are you?"),
    "unserved.position_needed_note": (
        "没有拿到您的位置。请再试一次，或搜索门店。",
        "We do not know where you are. Please try again, or search for your store.",
    ),
    "unserved.ip": (
        "目前按网络位置判断，可能不准。",
        "This goes by your network address, which may be off.",
    ),
    "unserved.ip_place": (
        "目前按网络位置（{place}）判断，可能不准。",
        "This goes by your network address ({place}), which may be off.",
    ),
    "unserved.nearby": ("现在可以加入的门店", "Stores you can join now"),
    "unserved.again": ("再试一次", "Try again"),
    # The list of stores
    "stores.title": ("选择门店", "Choose a store"),
    "stores.search": ("店名或地址", "Store name or address"),
    "stores.city": ("城市", "City"),
    "stores.all_cities": ("全部城市", "All cities"),
    "stores.find": ("搜索", "Search"),
    "stores.back": ("返回", "Back"),
    "stores.found": ("点一家，马上看到它的群码。", "Tap a store to see its code."),
    "stores.more": (
        "只列出了前 {count} 家，请输入店名或选择城市。",
        "Only the first {count} are listed: type a name or choose a city.",
    ),
    "stores.none": ("没有找到符合的门店", "No store found"),
    "stores.none_note": (
        "换个关键词试试，例如路名或商场名；只列出现在有空位的门店。",
        "Try another word, such as a street or a mall. Only stores with room are listed.",
    ),
    "stores.empty": ("现在没有可以加入的门店群", "No store has a group to join just now"),
    "stores.empty_note": (
        "名额会陆续放出，请稍后再来，或问问店员。",
        "Places become free from time to time: come back later, or ask the staff.",
    ),
    "stores.all": ("查看全部门店", "Show all stores"),
    # Lengths
    "far.m": ("距您 {n} 米", "{n} m from you"),
    "far.km": ("距您 {n} 公里", "{n} km from you"),
    "far.about_m": ("距您约 {n} 米", "about {n} m from you"),
    "far.about_km": ("距您约 {n} 公里", "about {n} km from you"),
    "away.m": ("{n} 米", "{n} m"),
    "away.km": ("{n} 公里", "{n} km"),
    "away.about_m": ("约 {n} 米", "about {n} m"),
    "away.about_km": ("约 {n} 公里", "about {n} km"),
    # Nothing to show
    "missing.title": ("没有找到这个码", "We do not know this code"),
    "missing.note": (
        "它可能已经更换。请再扫一次海报上的二维码，或问问店员。",
        "It may have been replaced. Please scan the poster again, or ask the staff.",
    ),
    "unavailable.title": ("请稍等一下", "One moment, please"),
    "unavailable.note": (
        "现在人有点多，页面会自动重试。",
        "We are a little busy. This page tries again by itself.",
    ),
    "unavailable.retry": ("现在重试", "Try now"),
    # What the page says while it works
    "notice.loading": ("请稍等…", "One moment…"),
    "notice.busy": (
        "网络有点慢，正在自动重试…",
        "The connection is slow. Trying again by itself…",
    ),
    "page.attributions": ("数据来源", "Data"),
}

KEYS = frozenset(_WORDS)


def say(lang: Lang, key: str, **values: object) -> str:
    """The text for `key`, filled. Raises `KeyError` for an unknown key or a missing value."""
    chinese, english = _WORDS[key]
    return (chinese if lang == "zh" else english).format(**values)
