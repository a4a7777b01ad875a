"""Orders, refunds and members as other systems send them, by JSON or as a table: typed, checked,
each mistake told with its row.

Pure. A rejected row keeps no other out, and is rejected for the first mistake found in it. Amounts
are decimals from the first to the last digit: never floats.
"""

import re
import unicodedata
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import Decimal
from enum import StrEnum

from service import importing, members
from service.importing import Cells, Mistake, Parsed, Rejected
from service.tabular import Table

ORDER_MAX_LENGTH = 64
DECIMALS_MAX = 4
AMOUNT_BELOW = Decimal(10) ** 12


class OrderKind(StrEnum):
    ORDER = "order"
    REFUND = "refund"  # what is paid back, under a number of its own


@dataclass(frozen=True, slots=True)
class OrderRow:
    row: int  # its place in the list, or as the spreadsheet shows it
    order: str  # the chain's own number
    kind: OrderKind
    at: datetime  # aware
    amount: Decimal  # not negative; a refund's, too
    currency: str  # ISO 4217
    store: str | None
    member: members.Key | None
    scan_id: uuid.UUID | None
    refunds: str | None  # the order that a refund pays back


@dataclass(frozen=True, slots=True)
class MemberRow:
    """Who a join became. A kind that is not named stays as it is; with no key it is forgotten."""

    row: int
    join_id: uuid.UUID | None
    scan_id: uuid.UUID | None
    keys: Mapping[members.Kind, members.Key | None]


ORDER_FIELDS = (
    "order", "at", "amount", "currency", "store", "member", "scan_id", "kind", "refunds",
)  # fmt: skip
MEMBER_FIELDS = ("unionid", "external_userid", "phone", "phone_hash", "member")


def orders(sent: Sequence[object], *, tz: tzinfo, currency: str) -> Parsed[OrderRow]:
    """The orders of a JSON list; no number twice. `tz` is what times without an offset are in, and
    `currency` what amounts are in that name none."""
    seen: dict[str, int] = {}
    return _each(
        sent, ORDER_FIELDS, lambda row, cells: _once(seen, _order(row, cells, tz, currency))
    )


def order_table(
    table: Table, *, tz: tzinfo, currency: str, done: Callable[[], object] = lambda: None
) -> Parsed[OrderRow]:
    """The same of a spreadsheet. Raises BadInput for the header alone, as `importing.stores`."""
    seen: dict[str, int] = {}

    def parse(row: int, cells: Cells) -> OrderRow:
        return _once(seen, _order(row, {**cells, "member": _member_cell(cells)}, tz, currency))

    return importing.rows_of(table, _HEADERS, ("order", "at", "amount"), parse, done)


def joined(sent: Sequence[object]) -> Parsed[MemberRow]:
    """Who joins became, as a JSON list."""
    return _each(sent, ("join_id", "scan_id", *MEMBER_FIELDS), _member)


def member(values: Mapping[str, object], join_id: uuid.UUID) -> Parsed[MemberRow]:
    """The same of one join, which is named elsewhere."""
    return _each([values], MEMBER_FIELDS, lambda row, cells: _keys_of(row, cells, join_id, None))


def _each(
    sent: Sequence[object],
    fields: Sequence[str],
    parse: Callable[[int, Cells], importing.T],
) -> Parsed[importing.T]:
    good: list[importing.T] = []
    rejected: list[Rejected] = []
    for row, values in enumerate(sent, start=1):
        try:
            if not isinstance(values, dict):
                raise Mistake("row", "must be an object")
            for name in values:
                if name not in fields:
                    raise Mistake(_shown(str(name)), "is no field here")
            good.append(parse(row, values))
        except Mistake as mistake:
            rejected.append(Rejected(row, mistake.field, mistake.detail))
    return Parsed(tuple(good), tuple(rejected))


def _shown(name: str) -> str:
    return name.encode("ascii", "replace").decode().replace("\x00", "?")[:64]


def _once(seen: dict[str, int], order: OrderRow) -> OrderRow:
    """Raises Mistake for a number that was there before: the lines of one order would each pass for
    its correction."""
    if order.order in seen:
        quoted = importing.quoted(order.order)
        raise Mistake("order", f"{quoted} is in row {seen[order.order]} already")
    seen[order.order] = order.row
    return order


# ---------------------------------------------------------------- tables

_HEADERS: dict[str, tuple[str, ...]] = {
    "order": ("order", "order_no", "order_id", "order_number",
              "订单号", "订单编号", "单号", "交易单号"),
    "at": ("at", "time", "order_time", "ordered_at", "paid_at",
           "下单时间", "订单时间", "交易时间", "支付时间", "付款时间", "时间"),
    "amount": ("amount", "金额", "订单金额", "实付金额", "实收金额", "支付金额", "交易金额"),
    "currency": ("currency", "币种", "货币"),
    "store": ("store", "store_id", "store_number", "store_no", "store_code",
              "门店编号", "门店编码", "门店号"),
    "member": ("member", "member_id", "member_no", "会员", "会员号", "会员编号", "会员标识"),
    "unionid": ("unionid", "union_id", "微信unionid"),
    "external_userid": ("external_userid", "外部联系人id", "客户id"),
    "phone": ("phone", "mobile", "手机号", "手机", "会员手机号", "电话"),
    "scan_id": ("scan_id", "扫码编号", "扫码id"),
    "kind": ("kind", "type", "类型", "订单类型", "交易类型"),
    "refunds": ("refunds", "original_order", "原订单号", "原单号"),
}  # fmt: skip


def _member_cell(cells: Cells) -> object:
    """The first of the columns that a member can be known by that has something in it."""
    for kind in members.Kind:
        value = cells.get(kind.value)
        if value is not None and str(value).strip():
            return value if kind is members.Kind.MEMBER else f"{kind}:{value}"
    return None


# ---------------------------------------------------------------- one row

_KINDS: dict[str, OrderKind] = {
    **dict.fromkeys(("order", "sale", "订单", "销售", "消费", "支付"), OrderKind.ORDER),
    **dict.fromkeys(("refund", "退款", "退货", "退单"), OrderKind.REFUND),
}
_CURRENCIES = {"人民币": "CNY", "元": "CNY", "RMB": "CNY"}
_AMOUNT = re.compile(
    r"([-+]?)\s*[¥$]?\s*([-+]?)((?:\d{1,3}(?:,\d{3})+|\d{1,15})(?:\.\d{0,15})?|\.\d{1,15})\s*元?",
    re.ASCII,
)


def _order(row: int, cells: Cells, tz: tzinfo, currency: str) -> OrderRow:
    number = _number(cells, "order")
    if number is None:
        raise Mistake("order", "the order's number is missing")
    kind = _kind(cells)
    refunds = _number(cells, "refunds")
    if refunds is not None and kind is not OrderKind.REFUND:
        raise Mistake("refunds", "only a row of the kind refund pays an order back")
    if refunds == number:
        raise Mistake("refunds", "a refund has a number of its own")
    return OrderRow(
        row=row,
        order=number,
        kind=kind,
        at=_at(cells, tz),
        amount=_amount(cells, kind),
        currency=_currency(cells, currency),
        store=_plain(cells, "store", importing.STORE_NUMBER_MAX_LENGTH),
        member=_key(cells),
        scan_id=_id(cells, "scan_id"),
        refunds=refunds,
    )


def _plain(cells: Cells, field: str, most: int) -> str | None:
    """A text, or a whole number as one."""
    value = cells.get(field)
    if isinstance(value, bool) or not isinstance(value, str | int | None):
        raise Mistake(field, "must be a text")
    return importing.text_of({field: value}, field, most)


def _number(cells: Cells, field: str) -> str | None:
    """An order's number. Numbers of 16 digits and more are ruined by spreadsheets."""
    value = cells.get(field)
    shortened = isinstance(value, float) or (
        isinstance(value, str) and re.fullmatch(r"\d(?:\.\d+)?[eE]\+\d+", value.strip())
    )
    if shortened or isinstance(value, datetime):
        raise Mistake(
            field, "the spreadsheet has changed this number; format the column as text, type again"
        )
    return _plain(cells, field, ORDER_MAX_LENGTH)


def _kind(cells: Cells) -> OrderKind:
    text = _plain(cells, "kind", 20)
    if text is None:
        return OrderKind.ORDER
    if text.casefold() not in _KINDS:
        raise Mistake("kind", f"must be one of {', '.join(_KINDS)}")
    return _KINDS[text.casefold()]


def _at(cells: Cells, tz: tzinfo) -> datetime:
    value = cells.get("at")
    found = value if isinstance(value, datetime) else None
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value.strip())
        except ValueError:
            found = importing.moment_of(value)
    if found is None:
        what = "is missing" if value is None else "is not one"
        raise Mistake("at", f"the order's time {what}; write 2026-01-31T18:00:00+08:00")
    if not 2000 <= found.year < 2200:
        raise Mistake("at", "the year must be from 2000 to 2199")
    return found if found.tzinfo else found.replace(tzinfo=tz)


def _amount(cells: Cells, kind: OrderKind) -> Decimal:
    amount = _decimal(cells.get("amount"))
    # The exponent first: 1e999999 is short to write, and long to work with.
    if amount.adjusted() > 12 or abs(amount) >= AMOUNT_BELOW:
        raise Mistake("amount", f"must be below {AMOUNT_BELOW:,}")
    if (amount and amount.adjusted() < -DECIMALS_MAX) or amount != round(amount, DECIMALS_MAX):
        raise Mistake("amount", f"has more than {DECIMALS_MAX} decimals")
    if amount < 0:
        if kind is OrderKind.ORDER:
            detail = "is negative; a refund is a row of the kind refund, with a number of its own"
            raise Mistake("amount", detail)
        amount = -amount
    return round(abs(amount), DECIMALS_MAX)


def _decimal(value: object) -> Decimal:
    """Raises Mistake for what is no number."""
    if isinstance(value, float):
        value = Decimal(f"{value:.15g}")  # a spreadsheet's, which shows no more digits
    if isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value) if abs(value) < AMOUNT_BELOW else AMOUNT_BELOW
    if isinstance(value, str):
        plain = unicodedata.normalize("NFKC", importing.INVISIBLE.sub("", value)).strip()
        if found := _AMOUNT.fullmatch(plain):
            sign, inner, digits = found.groups()
            value = Decimal((sign or inner) + digits.replace(",", ""))
    if value is None or value == "":
        raise Mistake("amount", "the amount is missing")
    if not isinstance(value, Decimal) or not value.is_finite():
        raise Mistake("amount", "is not a number")
    return value


def _currency(cells: Cells, default: str) -> str:
    text = _plain(cells, "currency", 20)
    if text is None:
        return default
    found = _CURRENCIES.get(text.upper(), text.upper())
    if not re.fullmatch(r"[A-Z]{3}", found):
        raise Mistake("currency", "must be a currency's three letters: CNY, HKD")
    return found


def _key(cells: Cells) -> members.Key | None:
    text = _plain(cells, "member", 300)
    if text is None:
        return None
    try:
        return members.parse(text)
    except members.NotAKey as error:
        raise Mistake("member", str(error)) from None


def _id(cells: Cells, field: str) -> uuid.UUID | None:
    text = _plain(cells, field, 100)
    if text is None:
        return None
    try:
        return uuid.UUID(text)
    except ValueError:
        raise Mistake(field, "is no id of ours") from None


def _member(row: int, cells: Cells) -> MemberRow:
    join_id, scan_id = _id(cells, "join_id"), _id(cells, "scan_id")
    if (join_id is None) == (scan_id is None):
        raise Mistake("join_id", "name a join or a scan, and not both")
    return _keys_of(row, cells, join_id, scan_id)


def _keys_of(
    row: int, cells: Cells, join_id: uuid.UUID | None, scan_id: uuid.UUID | None
) -> MemberRow:
    keys: dict[members.Kind, members.Key | None] = {}
    for field in MEMBER_FIELDS:
        if field not in cells:
            continue
        kind = members.Kind.PHONE if field == "phone_hash" else members.Kind(field)
        text = _plain(cells, field, 300)
        if field == "phone_hash" and "phone" in keys:
            raise Mistake(field, "send the phone or its hash, not both")
        try:
            if text is None:
                keys[kind] = None
            else:
                keys[kind] = (
                    members.by_hash(text) if field == "phone_hash" else members.of(kind, text)
                )
        except members.NotAKey as error:
            raise Mistake(field, str(error)) from None
    if not keys:
        raise Mistake("member", f"one of {', '.join(MEMBER_FIELDS)} is needed")
    return MemberRow(row, join_id, scan_id, keys)
