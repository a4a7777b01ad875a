"""Members, as other systems know them: unionid, external_userid, phone, the chain's own number.

Two systems mean the same member when their keys are equal. Only a keyed hash of a key is kept, of
the chain and of the installation: a phone number could be found from a plain hash by trying all.
"""

import hashlib
import hmac
import re
import unicodedata
import uuid
from dataclasses import dataclass
from enum import StrEnum

KEY_MAX_LENGTH = 128


class Kind(StrEnum):
    """In the order in which a key that does not say its kind is tried."""

    UNIONID = "unionid"
    EXTERNAL_USERID = "external_userid"
    PHONE = "phone"
    MEMBER = "member"  # the chain's own number


@dataclass(frozen=True, slots=True)
class Key:
    """`kind` None: any. `digest` is SHA-256; `shown` is what people may read of it: of a phone
    nothing but that it is one."""

    kind: Kind | None
    digest: bytes
    shown: str

    def hashed(self, secret: bytes, chain_id: uuid.UUID) -> bytes:
        """What is kept: HMAC-SHA-256 under the installation's secret, of the chain."""
        return hmac.digest(secret, chain_id.bytes + self.digest, "sha256")


class NotAKey(ValueError):
    """Nothing that a member can be known by; the message says why."""


_STATED = re.compile(r"(unionid|external_userid|phone|phone_hash|member)\s*[:：]\s*(.*)", re.DOTALL)


def parse(text: str) -> Key:
    """`KIND:KEY`, or a key alone, which may be of any kind. Raises `NotAKey`."""
    stated = _STATED.fullmatch(text.strip())
    if stated is None:
        return _any(None, text)
    kind, key = stated.groups()
    return by_hash(key) if kind == "phone_hash" else of(Kind(kind), key)


def of(kind: Kind, text: str) -> Key:
    """A key of this kind. Raises `NotAKey`."""
    if kind is not Kind.PHONE:
        return _any(kind, text)
    number = phone(text)
    if number is None:
        raise NotAKey("is no phone number; write 13800138000, or +85251234567 with its country")
    return Key(kind, _sha256(number), kind.value)


def by_hash(text: str) -> Key:
    """A phone by its SHA-256 (64 hexadecimal digits) as `phone` writes it. Raises `NotAKey`."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text.strip()):
        raise NotAKey("must be the SHA-256 of +8613800138000, say, in 64 hexadecimal digits")
    return Key(Kind.PHONE, bytes.fromhex(text.strip()), Kind.PHONE.value)


def _any(kind: Kind | None, text: str) -> Key:
    key = unicodedata.normalize("NFKC", text).strip()
    if not 0 < len(key) <= KEY_MAX_LENGTH:
        raise NotAKey(f"must have 1 to {KEY_MAX_LENGTH} characters")
    # A number that looks like a phone may be one, whatever it is called: it is not kept to be read.
    if number := phone(key):
        return Key(kind, _sha256(number), (kind or Kind.PHONE).value)
    return Key(kind, _sha256(key), f"{kind}:{key}" if kind else key)


_BETWEEN = re.compile(r"[\s\-().]")


def phone(text: str) -> str | None:
    """A phone number as E.164 has it (+8613800138000), or None. Without a country it is a Chinese
    mobile."""
    plain = _BETWEEN.sub("", unicodedata.normalize("NFKC", text))
    if re.fullmatch(r"1[3-9]\d{9}", plain, re.ASCII):
        return "+86" + plain
    if re.fullmatch(r"(?:00)?861[3-9]\d{9}", plain, re.ASCII):
        return "+" + plain.removeprefix("00")
    return plain if re.fullmatch(r"\+[1-9]\d{6,14}", plain, re.ASCII) else None


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
