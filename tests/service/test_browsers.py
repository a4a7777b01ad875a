"""Who opens a page: no person's browser is called a bot, no crawler a person."""

import csv
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from service import browsers

with (Path(__file__).parents[2] / "fixtures" / "user_agents.csv").open(encoding="utf-8") as file:
    AGENTS = list(csv.DictReader(file))
PEOPLE = [row for row in AGENTS if row["kind"] == "person"]
BOTS = [row for row in AGENTS if row["kind"] == "bot"]
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.50(0x18003233)"
)
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/132.0.0.0 Safari/537.36"
)


def test_the_corpus_knows_enough_people_and_programs_and_where_they_are_documented() -> None:
    assert len(PEOPLE) >= 60
    assert len(BOTS) >= 60
    assert {row["kind"] for row in AGENTS} == {"person", "bot"}
    assert all(row["source"] for row in AGENTS)
    assert len({row["user_agent"] for row in AGENTS}) == len(AGENTS)


@pytest.mark.parametrize("row", PEOPLE, ids=lambda row: f"{row['family']}: {row['user_agent']}")
def test_a_persons_browser_is_no_bot_and_of_its_family(row: dict[str, str]) -> None:
    assert browsers.bot_in(row["user_agent"]) is None
    assert browsers.browser_in(row["user_agent"]) == row["family"]


@pytest.mark.parametrize("row", BOTS, ids=lambda row: f"{row['family']}: {row['user_agent']}")
def test_a_program_is_a_bot(row: dict[str, str]) -> None:
    assert browsers.bot_in(row["user_agent"]) is not None


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        ("Mozilla/5.0 (compatible; Baiduspider/2.0)", "baiduspider"),
        (f"{CHROME} (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "googlebot"),
        (CHROME.replace("Chrome/", "HeadlessChrome/"), "headlesschrome"),
        ("curl/8.5.0", "curl"),
        ("WhatsApp/2.23.20.0", "whatsapp"),
        ("python-requests/2.31.0", "python-requests"),
        ("masscan/1.0 (https://github.com/robertdavidgraham/masscan)", "masscan"),
        ("Mozilla/5.0 zgrab/0.x", "zgrab"),
        (f"{CHROME}; compatible; ChatGPT-User/1.0; +https://openai.com/bot", "chatgpt-user"),
        (f"{CHROME}; +https://www.example.com/why", "www.example.com"),
        (f"{CHROME} operator@example.com", "example.com"),
    ],
)
def test_a_bot_is_called_by_its_own_name(user_agent: str, name: str) -> None:
    assert browsers.bot_in(user_agent) == name


@pytest.mark.parametrize("user_agent", ["", " ", "\x00", "\t\r\n", "茶", "0" * 10_000, "///;()"])
def test_who_says_nothing_of_itself_is_a_bot(user_agent: str) -> None:
    assert browsers.bot_in(user_agent) == browsers.NAMELESS
    assert browsers.browser_in(user_agent) is None


@given(st.text(st.characters(max_codepoint=0x1F), max_size=5), st.sampled_from(AGENTS))
def test_control_characters_at_either_end_change_nothing(noise: str, row: dict[str, str]) -> None:
    dirty = f"{noise}{row['user_agent']}{noise}"
    assert (browsers.bot_in(dirty) is None) == (row["kind"] == "person")


@given(st.sampled_from(AGENTS), st.sampled_from([str.upper, str.lower, str.swapcase]))
def test_capitals_change_nothing(row: dict[str, str], change: object) -> None:
    assert callable(change)
    assert browsers.bot_in(change(row["user_agent"])) == browsers.bot_in(row["user_agent"])
    assert browsers.browser_in(change(row["user_agent"])) == browsers.browser_in(row["user_agent"])


@given(st.text(max_size=300) | st.from_regex(r"[A-Za-z:/@.; ()\x00-\x1f]{0,80}bot.{0,20}"))
def test_a_bots_name_is_short_and_legible_whatever_was_sent(user_agent: str) -> None:
    name = browsers.bot_in(user_agent)
    assert name is None or re.fullmatch(r"[a-z0-9._-]{1,64}", name)


@given(st.sampled_from(PEOPLE), st.sampled_from(BOTS))
def test_a_program_that_also_says_a_browsers_words_is_still_a_bot(
    person: dict[str, str], bot: dict[str, str]
) -> None:
    """A crawler that dresses as a phone says so behind the phone's own words."""
    if re.search(r"bot\b|spider|crawl", bot["user_agent"], re.IGNORECASE):
        both = f"{person['user_agent']} ({bot['user_agent']})"
        assert browsers.bot_in(both) is not None


@given(st.from_regex(r"[A-Za-z0-9 _-]{0,12}(bot|spider|crawl)[A-Za-z0-9 _-]{0,12}", fullmatch=True))
def test_a_phone_may_have_any_name(model: str) -> None:
    phone = (
        f"Mozilla/5.0 (Linux; Android 13; {model} Build/TP1A.220905.001; wv) AppleWebKit/537.36 "
        "(KHTML, like Gecko) Version/4.0 Chrome/130.0.6723.103 Mobile Safari/537.36"
    )
    assert browsers.bot_in(phone) is None
    assert browsers.bot_in(f"{phone} MicroMessenger/8.0.56.2800(0x28003855)") is None


@pytest.mark.parametrize(
    "bait",
    [
        "a", "-", " ", "(", "@", "cubot", "bo", "a-bo", "(android ", "a@a.", "://", "; compatible",
        "gecko; compatible", "(linux; u; android ", "a@" + "a" * 33, "mozilla/", "\x00",
    ],
)  # fmt: skip
def test_the_time_that_a_user_agent_takes_has_a_bound(bait: str) -> None:
    """10,000 characters that are made to go back again and again: a hundred in half a second, 5 ms
    each, where a pattern that goes back takes seconds for one."""
    for user_agent in (bait * (10_000 // len(bait)), f"Mozilla/5.0 {bait * 2_000}"[:10_000]):
        began = time.process_time()
        for _ in range(100):
            browsers.bot_in(user_agent)
            browsers.browser_in(user_agent)
        assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    "header",
    [
        ("Sec-Purpose", "prefetch"),
        ("Sec-Purpose", "prefetch;prerender"),
        ("Sec-Purpose", "prefetch; anonymous-client-ip"),
        ("Purpose", "prefetch"),
        ("purpose", "Prefetch"),
        ("X-Moz", "prefetch"),
        ("X-Purpose", "preview"),
    ],
)
def test_a_browser_that_asks_ahead_is_no_persons_scan(header: tuple[str, str]) -> None:
    assert browsers.prefetch_in(Headers({"User-Agent": IPHONE, header[0]: header[1]}))


@pytest.mark.parametrize("header", [("Sec-Purpose", ""), ("Purpose", "buy"), ("X-Moz", "no")])
def test_a_tap_is_no_prefetch(header: tuple[str, str]) -> None:
    assert not browsers.prefetch_in(Headers({"User-Agent": IPHONE, header[0]: header[1]}))
    assert not browsers.prefetch_in(Headers({"User-Agent": IPHONE}))
