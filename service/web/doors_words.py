"""What the doors say (signing in, invitations, passwords): each text in Chinese and in English.

Placeholders in braces are filled by `str.format`; both texts of a pair have the same ones.
"""

from service.web.words import Lang

_WORDS: dict[str, tuple[str, str]] = {
    "skip": ("跳到正文", "Skip to content"),
    # Signing in
    "sign_in.hq": ("总部登录", "Sign in to HQ"),
    "sign_in.m": ("店长登录", "Sign in to your stores"),
    "sign_in.email": ("邮箱", "E-mail"),
    "sign_in.password": ("密码", "Password"),
    "sign_in.button": ("登录", "Sign in"),
    "sign_in.forgotten": (
        "忘记密码？请总部的同事给您发一个重设链接。",
        "Forgot your password? A colleague at HQ can send you a link to choose a new one.",
    ),
    "sign_in.by_key_hq": ("或者用密钥", "Or with a key"),
    "sign_in.key": ("密钥", "Key"),
    "sign_in.by_key": ("用密钥登录", "Sign in with the key"),
    "sign_in.hint": (
        "密钥以 nck_ 开头，给程序用，也能登录。",
        "Keys begin with nck_. They are for programs, and open this page as well.",
    ),
    "sign_in.invited": (
        "店长不用密码：总部会发给您一个专属链接或二维码，在这部手机上打开，点一下就登录好了。",
        "Store managers need no password. HQ sends you a link or a QR code of your own: open it on "
        "this phone, tap once, and you are in.",
    ),
    "sign_in.invited_note": (
        "没有收到，或者换了手机？请总部重新发一个。",
        "None came, or you have a new phone? Ask HQ for another.",
    ),
    "sign_in.by_key_m": ("有密钥？", "You have a key?"),
    "sign_in.other_hq": ("我是店长", "I manage a store"),
    "sign_in.other_m": ("我是总部", "I am from HQ"),
    "sign_in.wrong": (
        "这个密钥不对，或者已经停用。请完整复制后再试一次。",
        "This key is not known, or it was revoked. Copy the whole of it and try again.",
    ),
    "sign_in.wrong_password": (
        "邮箱或密码不对，请再试一次。",
        "The e-mail address or the password is wrong. Please try again.",
    ),
    "sign_in.too_many": (
        "试的次数太多了，请 {minutes} 分钟后再试。",
        "Too many attempts. Try again in {minutes} min.",
    ),
    "sign_in.needed": (
        "登录已失效，请重新登录后再操作一次。",
        "You are no longer signed in. Please sign in and do it once more.",
    ),
    # An invitation
    "join.title": ("店长邀请", "Invitation"),
    "join.hello": ("{name}，您好", "Hello, {name}"),
    "join.what": (
        "{chain}请您用这部手机管理下面的门店：放上群码、看人数、满了换新。",
        "{chain} asks you to look after these stores on this phone: put up group codes, see how "
        "full they are, renew them in time.",
    ),
    "join.store": ("编号 {store}", "No. {store}"),
    "join.more": ("还有 {count} 家", "and {count} more"),
    "join.button": ("在这部手机上登录", "Sign in on this phone"),
    "join.once": (
        "链接只能用一次，{until} 前有效。不是您的手机，请不要点。",
        "The link works once, until {until}. Do not tap if this is not your phone.",
    ),
    "join.as_other": (
        "这部手机现在登录的是「{who}」；点了之后会换成您。",
        "This phone is signed in as “{who}”; that ends when you tap.",
    ),
    "over.used": ("这个邀请已经用过了", "This invitation was used already"),
    "over.used_note": (
        "每个链接只能用一次。如果用它的不是您，请马上告诉总部；要在另一部手机上登录，请总部再发一个。",
        "Each link works once. If it was not you who used it, tell HQ at once. For another phone, "
        "ask HQ for a new link.",
    ),
    "over.revoked": ("这个邀请已经收回", "This invitation was withdrawn"),
    "over.revoked_note": ("请向总部要一个新的链接。", "Ask HQ for a new link."),
    "over.expired": ("这个邀请已经过期", "This invitation is too old"),
    "over.expired_note": ("请向总部要一个新的链接。", "Ask HQ for a new link."),
    "over.unknown": ("没有这个邀请", "There is no such invitation"),
    "over.unknown_note": (
        "链接可能没有复制完整。请重新打开，或者向总部要一个新的。",
        "The link may have been cut off. Open it again, or ask HQ for a new one.",
    ),
    "over.password": ("这个链接已经失效", "This link works no more"),
    "over.password_note": (
        "它已经用过，或者过期了。请总部的同事再发一个。",
        "It was used already, or it is too old. Ask a colleague at HQ for a new one.",
    ),
    "over.to_m": ("去我的门店", "To my stores"),
    "over.to_hq": ("去登录", "To the sign-in page"),
    # Choosing a password
    "password.choose": ("设置密码", "Choose a password"),
    "password.change": ("修改密码", "Change your password"),
    "password.for": ("{name}（{email}）", "{name} ({email})"),
    "password.current": ("现在的密码", "Present password"),
    "password.new": ("新密码", "New password"),
    "password.again": ("再输入一次", "Once more"),
    "password.hint": (
        "至少 {least} 个字符。几个不相干的词连起来，又好记又安全。",
        "At least {least} characters. A few unrelated words in a row are safe, and easy to keep "
        "in mind.",
    ),
    "password.ends": (
        "保存后，您在其他设备上的登录都会退出。",
        "When it is saved, you are signed out on all other devices.",
    ),
    "password.button": ("保存并登录", "Save and sign in"),
    "password.save": ("保存", "Save"),
    "password.back": ("返回", "Back"),
    "password.differ": ("两次输入的不一样。", "The two are not the same."),
    "password.weak": (
        "这个密码太容易猜：要 {least} 到 {most} 个字符，不能只有几种字符，也不能是您的名字或邮箱。",
        "This is guessed too easily: {least} to {most} characters, not just a few different ones, "
        "and neither your name nor your address.",
    ),
    "password.wrong": ("现在的密码不对。", "The present password is wrong."),
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
}

KEYS = frozenset(_WORDS)


def say(lang: Lang, key: str, **values: object) -> str:
    """The text for `key`, filled. Raises `KeyError` for an unknown key or a missing value."""
    chinese, english = _WORDS[key]
    return (chinese if lang == "zh" else english).format(**values)
