"""Why a row, a file or a picture was not taken, in Chinese: by the English sentence, which says why
where it is found out, and is what the API and the command line tell.

As gettext has it, the English text is the key; what was filled in is found in it again, and filled
into the Chinese one. A test holds this list to the sentences that there are.
"""

import functools
import re

from service.web.words import Lang

_TABLE = "（把这一列设成文本格式再填一次）"
_SENTENCES: tuple[tuple[str, str], ...] = (
    # Tables
    ("{what} is in row {row} already", "{what} 在第 {row} 行已经出现过"),
    ("the same code is in row {row}", "和第 {row} 行是同一个群码"),
    ("columns {a} and {b} say the same; keep one of them", "{a} 和 {b} 两列意思相同，请只留一列"),
    ("no column {names} among {found}", "缺少「{names}」这一列；文件里有：{found}"),
    (
        "the row has more cells than the header; a text with a comma in it must stand in quote "
        "marks",
        "这一行的格子比表头多；带逗号的内容要加引号",
    ),
    ("the file has more than {count} bytes", "文件太大，最多 {count} 字节"),
    ("the file is empty", "文件是空的"),
    (
        "this is an old or password-protected Excel file (XLS); save it as XLSX or CSV without a "
        "password",
        "这是旧版或加密的 Excel 文件（XLS），请另存为不加密的 XLSX 或 CSV",
    ),
    ("this file ({name}) is not CSV, XLSX or GeoJSON", "{name} 不是 CSV、XLSX 或 GeoJSON 文件"),
    ("this file{name} is not CSV, XLSX or GeoJSON", "这不是 CSV、XLSX 或 GeoJSON 文件"),
    ("this file is not CSV, XLSX or GeoJSON", "这不是 CSV、XLSX 或 GeoJSON 文件"),
    ('row {row}: its quote marks (") do not match', '第 {row} 行的引号（"）不成对'),
    ("the XLSX file is damaged; save it again", "XLSX 文件已损坏，请重新保存"),
    ("the XLSX file is damaged or cut off; save it again", "XLSX 文件损坏或不完整，请重新保存"),
    ("the XLSX file unpacks to more than {count} bytes", "XLSX 文件解开后超过 {count} 字节"),
    ("this is a ZIP file, but no XLSX spreadsheet", "这是 ZIP 文件，但不是 XLSX 表格"),
    ("the table has more than {count} columns", "表格超过 {count} 列"),
    (
        "row {row} should name the columns, but holds {what}: add a header row",
        "第 {row} 行应当是表头，却是 {what}：请加上表头",
    ),
    ("row {row} names the column {what} twice", "第 {row} 行里 {what} 这一列出现了两次"),
    (
        "the table has more than {count} rows; import it in parts",
        "表格超过 {count} 行，请分次导入",
    ),
    ("the file begins like GeoJSON, but is not valid JSON", "文件像 GeoJSON，但不是有效的 JSON"),
    (
        "JSON files must be a GeoJSON FeatureCollection of Points",
        "JSON 文件必须是由点组成的 GeoJSON FeatureCollection",
    ),
    ("the GeoJSON file has no features", "GeoJSON 文件里没有内容"),
    ("feature {number} is not a GeoJSON Feature", "第 {number} 个对象不是 GeoJSON Feature"),
    # Any cell
    ("{field} must be a text", "{field}必须是文本"),
    ("{field} holds control characters: {what}", "{field}含有控制字符：{what}"),
    (
        "{field} has {count} characters; at most {most} are kept",
        "{field}有 {count} 个字，最多 {most} 个",
    ),
    ("the {field} is missing", "缺少{field}"),
    ("the {field} is not a number: {what}", "{field}不是数字：{what}"),
    (
        "{field} must be a whole number of at least {least}, not {what}",
        "{field}必须是不小于 {least} 的整数，不能是 {what}",
    ),
    (
        "{what} is not a time; write 2026-01-31 18:00, or nothing for a code that does not expire",
        "{what} 不是时间；请写成 2026-01-31 18:00，不过期就留空",
    ),
    ("unknown status {what}: expected one of {known}", "不认识的状态 {what}，可用：{known}"),
    # Stores
    (
        "the store number has become a date; format the column as text and type it again",
        "门店编号被改成了日期" + _TABLE,
    ),
    (
        "the spreadsheet has shortened the store number to {what}; format the column as text",
        "门店编号被表格缩写成了 {what}" + _TABLE,
    ),
    ("a store number may not hold slashes: {what}", "门店编号里不能有斜杠：{what}"),
    ("longitude 0 and latitude 0 stand for a missing position", "经度 0、纬度 0 表示没有填位置"),
    (
        "longitude and latitude are swapped; the right way round they are lon {lon}, lat {lat}",
        "经度和纬度填反了；正确的是经度 {lon}、纬度 {lat}",
    ),
    (
        "{name} {what} is not between {least} and {most} degrees",
        "{name} {what} 不在 {least} 到 {most} 度之间",
    ),
    ("{name} {what} is not a number", "{name} {what} 不是数字"),
    ("unknown datum {what}: expected one of {known}", "不认识的坐标系 {what}，可用：{known}"),
    (
        "the position lies abroad or at sea, but {stated} is stated; read as {meant} and not as "
        "{read} it would lie there",
        "位置在境外或海上，填写的却是 {stated}；如果按 {meant} 而不是 {read} 读，就对得上",
    ),
    (
        "the position lies in {place}, but {stated} is stated; read as {meant} and not as {read} "
        "it would lie there",
        "位置在{place}，填写的却是 {stated}；如果按 {meant} 而不是 {read} 读，就对得上",
    ),
    (
        "the position lies abroad or at sea, but {stated} is stated",
        "位置在境外或海上，填写的却是 {stated}",
    ),
    ("the position lies in {place}, but {stated} is stated", "位置在{place}，填写的却是 {stated}"),
    ("the position lies {where}, but {stated} is stated", "位置在 {where}，填写的却是 {stated}"),
    ("{count} tags; at most {most} are kept", "有 {count} 个标签，最多 {most} 个"),
    ("{what} has more than {most} characters", "{what} 超过 {most} 个字"),
    ("the area is not a GeoJSON object", "服务范围不是 GeoJSON 对象"),
    ("the area holds no polygon", "服务范围里没有多边形"),
    ("the area has more than {count} corners", "服务范围的顶点超过 {count} 个"),
    ("the area is too long a text", "服务范围的内容太长"),
    ("the area is not JSON: {what}", "服务范围不是 JSON：{what}"),
    ("the area is a {kind} without members", "服务范围是空的 {kind}"),
    ("the area has no geometry", "服务范围没有几何形状"),
    (
        "the area is a {kind}, not a Polygon or MultiPolygon",
        "服务范围是 {kind}，必须是 Polygon 或 MultiPolygon",
    ),
    ("the area has no coordinates", "服务范围没有坐标"),
    ("the area has a ring of fewer than three corners", "服务范围有一圈不到三个顶点"),
    ("the area has a corner that is not two numbers", "服务范围有顶点不是两个数"),
    ("the area has a corner off the earth: {what}", "服务范围有顶点不在地球上：{what}"),
    (
        "the area's coordinates are not nested as GeoJSON has them",
        "服务范围的坐标不是 GeoJSON 的嵌套方式",
    ),
    ("the area is empty", "服务范围是空的"),
    # Group codes
    ("there is no store {store}", "没有门店 {store}"),
    (
        "this code was retired or replaced on {day}; if it is meant, put it up by itself",
        "这个群码在 {day} 停用或换掉了；确实要用，请单独添加",
    ),
    ("this code is up at another place of the chain", "这个群码在别的门店用着"),
    ("this code is up at an entry's fallback", "这个群码是某个活码的备用群"),
    ("this code is up at {where}", "这个群码已经在用：{where}"),
    ("must be {least} to {most}", "必须在 {least} 到 {most} 之间"),
    ("{count} is more than the {most} of a group", "{count} 超过一个群的上限 {most}"),
    ("the code's payload is missing", "缺少群码内容"),
    (
        "the payload has {count} characters; group codes have at most {most}",
        "群码内容有 {count} 个字符，群码最多 {most} 个",
    ),
    ("the payload is empty", "群码内容是空的"),
    ("the payload holds spaces or control characters", "群码内容里有空格或控制字符"),
    (
        "this is not the code of a WeChat or WeCom group or contact",
        "这不是微信或企业微信的群码或联系人码",
    ),
    (
        "this is a payment code (收款码); upload the group's QR code",
        "这是收款码，请上传群的二维码",
    ),
    (
        "this is an entry code (活码), which leads to the nearest group itself; upload the group's "
        "own QR code",
        "这是活码，请上传群自己的二维码",
    ),
    (
        "this leads to an official account or mini-program, not to a group",
        "这是公众号或小程序的码，不是群码",
    ),
    (
        "this is a QQ group; only WeChat and WeCom groups can be used",
        "这是 QQ 群的码，只能用微信群或企业微信群",
    ),
    (
        "the payload begins with http://, but WeChat's own codes begin with https://",
        "内容以 http:// 开头，而微信的群码以 https:// 开头",
    ),
    # Pictures
    ("the ZIP can't be read: {what}", "ZIP 打不开：{what}"),
    ("not a picture; send {kinds}", "不是图片；请用 {kinds}"),
    (
        "the ZIP's pictures are too large together; send several",
        "ZIP 里的图片合计太大，请分开发",
    ),
    ("it is encrypted; send a ZIP without a password", "文件加密了，请用不带密码的 ZIP"),
    ("it is packed in an unusual way; pack it again", "压缩方式少见，请重新压缩"),
    ("it is damaged in the ZIP", "文件在 ZIP 里已损坏"),
    ("at most {count} files; send several ZIPs", "最多 {count} 个文件，请分几个 ZIP"),
    ("it can't be read: {what}", "读不出来：{what}"),
    (
        "the picture holds {count} QR codes; cut out the one meant",
        "图片里有 {count} 个二维码，请只截取要用的那个",
    ),
    (
        "no QR code was found in the picture; take it straight, sharp and whole",
        "图片里没有找到二维码；请拍正、拍清楚、拍完整",
    ),
    (
        "the picture has {width} x {height} pixels; at most {most} are read",
        "图片有 {width} x {height} 像素，最多 {most}",
    ),
    ("the picture has {count} bytes; at most {most} are read", "图片有 {count} 字节，最多 {most}"),
    ("the picture has too many pixels; at most {most} are read", "图片像素太多，最多 {most}"),
    ("the picture moves; send a still one", "这是动图，请用静止的图片"),
    ("the picture takes too much memory; send a smaller one", "图片太占内存，请用小一点的"),
    ("the picture is damaged or cut off", "图片损坏或不完整"),
    ("this is an SVG drawing; send a photograph or a screenshot", "这是 SVG 图，请用照片或截图"),
    (
        "this is not a JPEG, PNG, WebP, HEIC, GIF or BMP picture",
        "这不是 JPEG、PNG、WebP、HEIC、GIF 或 BMP 图片",
    ),
    (
        "the picture could not be read: it is damaged, or too much for us; send a screenshot, or a "
        "smaller photograph",
        "图片没有读出来：可能损坏或太大；请用截图或小一点的照片",
    ),
    # Placements
    ("the placement's number is missing", "缺少投放编号"),
    (
        "{what} must be letters a-z, digits, -, _ and ., 64 at most, a letter or digit first",
        "{what} 只能用字母 a-z、数字、-、_ 和 .，最多 64 个，以字母或数字开头",
    ),
    ("the cost must be 0 to {most}, not {what}", "成本必须在 0 到 {most} 之间，不能是 {what}"),
    ("a new placement needs a channel", "新的投放要写渠道"),
    # Managers
    ("{count} stores; one manager has at most {most}", "{count} 家门店；一位店长最多 {most} 家"),
    # Orders
    ("the order's number is missing", "缺少订单号"),
    ("only a row of the kind refund pays an order back", "只有退款行才能写原订单号"),
    ("a refund has a number of its own", "退款要有自己的单号"),
    (
        "the spreadsheet has changed this number; format the column as text, type again",
        "这个号码被表格改动过" + _TABLE,
    ),
    ("must be one of {known}", "必须是其中之一：{known}"),
    (
        "the order's time {what}; write 2026-01-31T18:00:00+08:00",
        "下单时间{what}；请写成 2026-01-31T18:00:00+08:00",
    ),
    ("the year must be from 2000 to 2199", "年份必须在 2000 到 2199 之间"),
    ("must be below {most}", "必须小于 {most}"),
    ("has more than {most} decimals", "小数超过 {most} 位"),
    (
        "is negative; a refund is a row of the kind refund, with a number of its own",
        "是负数；退款请写成类型为退款的一行，用自己的单号",
    ),
    ("is not a number", "不是数字"),
    ("must be a currency's three letters: CNY, HKD", "必须是币种的三个字母，如 CNY、HKD"),
    ("is no id of ours", "不是有效的编号"),
    (
        "is no phone number; write 13800138000, or +85251234567 with its country",
        "不是手机号；请写 13800138000，或带国家的 +85251234567",
    ),
    (
        "must be the SHA-256 of +8613800138000, say, in 64 hexadecimal digits",
        "必须是手机号（如 +8613800138000）的 SHA-256，64 位十六进制",
    ),
    ("must have 1 to {most} characters", "必须有 1 到 {most} 个字"),
    ("must be a text", "必须是文本"),
    # Whole files
    ("a CSV, an XLSX or a ZIP is needed", "请选 CSV、XLSX 或 ZIP 文件"),
    ("{field}: a table may have {mb} MB at most", "表格最多 {mb} MB"),
    ("{field}: at most {mb} MB", "文件最多 {mb} MB"),
    ("something went wrong: see the log", "出了意外，请查看服务器日志"),
    (
        "the worker that did this has ended; send the file again, and the rest is done",
        "导入中断了；重新上传同一个文件，会接着做完",
    ),
    ("there is no entry {entry}", "没有活码 {entry}"),
)
"""English and Chinese, the more particular first."""

_VALUES = {
    "longitude": "经度", "latitude": "纬度", "cost": "成本", "store number": "门店编号",
    "store's name": "门店名称", "amount": "金额", "store": "门店编号", "name": "名称",
    "brand": "品牌", "address": "地址", "province": "省份", "city": "城市", "district": "区县",
    "datum": "坐标系", "status": "状态", "tags": "标签", "service_area": "服务范围",
    "payload": "群码内容", "capacity": "人数上限", "members": "人数", "label": "群名",
    "placement": "投放编号", "channel": "渠道", "printed": "印数", "variant": "版本",
    "order": "订单号", "currency": "币种", "member": "会员", "scan_id": "扫码编号",
    "kind": "类型", "refunds": "原订单号", "is missing": "没有填", "is not one": "不是时间",
}  # fmt: skip
"""What may be filled in that is English, too."""


def worded(lang: Lang, detail: str) -> str:
    """The reason as the page says it; in English where it has no Chinese words yet."""
    return detail if lang == "en" else chinese(detail) or detail


def chinese(detail: str) -> str | None:
    """None for a sentence that is not in the list."""
    for pattern, said in _patterns():
        if found := pattern.fullmatch(detail):
            return said.format(**{name: _value(text) for name, text in found.groupdict().items()})
    return None


def _value(text: str) -> str:
    """Quote marks as Chinese has them."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return f"「{text[1:-1]}」"
    return _VALUES.get(text, text)


@functools.cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    return [(_pattern(english), said) for english, said in _SENTENCES]


def _pattern(english: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", english)
    text = "".join(
        f"(?P<{part}>.+?)" if place % 2 else re.escape(part) for place, part in enumerate(parts)
    )
    return re.compile(text, re.DOTALL)
