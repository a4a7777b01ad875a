"""Settings: environment variables `NEARCODE_*`, each with its default and unit.

Read once, when `Settings()` is made; nothing reads the environment at import.
`nearcode settings` prints this list. A protective limit of 0 is switched off.
"""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Network = IPv4Network | IPv6Network


class Settings(BaseSettings):
    """One field a setting; `NEARCODE_` and the field's name in capitals is its variable."""

    model_config = SettingsConfigDict(env_prefix="NEARCODE_", extra="ignore", frozen=True)

    # Database
    database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL 15 or newer, as postgresql://...; unset: the embedded PostgreSQL "
        "in the data folder",
    )
    database_pool: int = Field(10, ge=2, le=200, description="connections of one worker")
    data_dir: Path = Field(
        Path(".nearcode"),
        description="folder of the embedded PostgreSQL and demo.json",
    )

    # Addresses
    public_url: str = Field(
        "http://localhost:8000",
        description="what printed codes point to: the origin that visitors reach, without a "
        "trailing slash",
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        (),
        description="addresses or networks, comma-separated, whose X-Forwarded-For is believed",
    )

    # Routing
    radius_m: float = Field(
        10_000, gt=0, description="metres: how far a store may be, where an entry says nothing else"
    )
    trusted_accuracy_m: float = Field(
        150, ge=0, description="metres: a fix this good is taken as exact and never asks to choose"
    )
    gps_accuracy_m: float = Field(
        50, ge=0, description="metres: the radius of a position that came without one"
    )
    max_choices: int = Field(5, ge=2, le=5, description="stores offered when the position is vague")
    max_hops: int = Field(
        20, ge=0, le=200, description="stores that could not serve, named in a routing"
    )
    xdb_files: Annotated[tuple[Path, ...], NoDecode] = Field(
        (),
        description="ip2region .xdb files, comma-separated: for IPv4, newer than the ip_region "
        "package's, and for IPv6",
    )
    mmdb_files: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="MaxMind or DB-IP .mmdb files, comma-separated"
    )

    # Seats
    hold_s: float = Field(
        900, gt=0, description="seconds that a seat is kept for a visitor who shows no evidence"
    )
    sweep_s: float = Field(
        1, gt=0, description="seconds between two rounds that free expired seats"
    )
    sticky_days: float = Field(
        30,
        ge=0,
        description="days in which a visitor who comes back is shown the same code; 0: always",
    )
    default_capacity: int = Field(
        200, ge=1, description="members of a new code for which no capacity is given"
    )
    max_capacity: int = Field(500, ge=1, description="members that no group's code may exceed")
    contact_capacity: int = Field(
        5000, ge=1, description="people of a new contact code for which no capacity is given"
    )
    personal_group_days: float = Field(
        7, gt=0, description="days after which an ordinary group's code is taken to expire"
    )

    max_holds_per_address: int = Field(
        500,
        ge=0,
        description="seats that one address may hold at once; a shop's customers, and thousands "
        "behind a mobile carrier, share one",
    )
    max_holds_per_subnet: int = Field(
        2000, ge=0, description="the same for a network: an IPv4 /24, an IPv6 /56"
    )
    complaints_to_pause: int = Field(
        3,
        ge=0,
        description="different visitors who say that a code does not work until it is paused; "
        "0: it never is",
    )
    complaints_minutes: float = Field(
        60, gt=0, description="minutes within which they must have said so"
    )

    # The journal
    journal_batch: int = Field(
        256,
        ge=1,
        description="visitors' requests written in one transaction at the most; 1: each by itself",
    )
    journal_queue: int = Field(
        10_000,
        ge=0,
        description="requests of visitors that may wait to be written; more are answered 503",
    )

    spool_mb: float = Field(
        100,
        ge=0,
        description="megabytes that a worker keeps in the data folder of what visitors do while "
        "the database is away; 0: they are answered 503",
    )

    # Catalog
    poll_s: float = Field(
        2,
        gt=0,
        description="seconds between two looks for changes of which no news was heard",
    )
    max_upload_mb: float = Field(20, ge=0, description="megabytes of an uploaded picture or table")

    max_import_mb: float = Field(500, ge=0, description="megabytes of an uploaded ZIP of pictures")

    # Pictures
    decoders: int = Field(
        2, ge=1, le=64, description="processes of a worker that read pictures, one each at a time"
    )
    decode_queue: int = Field(
        20, ge=0, description="pictures that may wait to be read; more are answered 503"
    )
    decode_timeout_s: float = Field(15, ge=0, description="seconds in which a picture must be read")
    decode_memory_mb: int = Field(
        1000, ge=0, description="megabytes that reading a picture may take (not on macOS)"
    )

    # Warnings
    warnings_s: float = Field(
        5, ge=0, description="seconds between two looks for what to warn of; 0: no warnings"
    )
    warn_filling_percent: float = Field(
        80,
        ge=0,
        le=100,
        description="percent of a code's seats taken: it is filling; 0: no warning",
    )
    warn_nearly_full_percent: float = Field(
        95, ge=0, le=100, description="the same: it is nearly full"
    )
    warn_expiring_hours: float = Field(
        48, ge=0, description="hours before a code expires: it is expiring; 0: no warning"
    )
    warn_expiring_soon_hours: float = Field(12, ge=0, description="the same: it is expiring soon")
    warn_quiet_s: float = Field(
        900,
        ge=0,
        description="seconds that a code must have had room again by itself until its warning is "
        "closed; an edit closes it at once",
    )
    warnings_days: float = Field(
        400, ge=0, description="days that closed warnings are kept; 0: for ever"
    )

    # Reports
    rollup_s: float = Field(
        15,
        gt=0,
        le=60,
        description="seconds between two rounds that bring the reports up to date",
    )
    report_memory_mb: float = Field(
        512,
        ge=0,
        description="MB in which each worker keeps what it has read and counted for reports, so "
        "that only what has changed is read again; 0: nothing",
    )
    retention_months: int = Field(
        0,
        ge=0,
        description="whole months that raw rows are kept beside the current one; the reports of "
        "older ones stay; 0: for ever",
    )

    audit_days: float = Field(
        730, ge=0, description="days that the log of changes is kept; 0: for ever"
    )

    # People
    session_days: float = Field(
        90, gt=0, le=400, description="days without use after which a browser is signed out"
    )
    invitation_days: float = Field(
        7, gt=0, le=365, description="days in which a manager's invitation can be used"
    )
    password_link_hours: float = Field(
        24, gt=0, le=720, description="hours in which a link to choose a password can be used"
    )
    sign_in_attempts_per_account: int = Field(
        10, ge=0, description="passwords that may be tried for one e-mail address"
    )
    sign_in_attempts_per_address: int = Field(
        100, ge=0, description="passwords that may be tried from one IP address, or IPv6 network"
    )
    sign_in_minutes: float = Field(
        15, gt=0, le=1440, description="minutes after which those attempts are forgotten"
    )
    password_memory_mb: float = Field(
        64, ge=1, le=4096, description="megabytes that hashing a password takes (Argon2id)"
    )
    password_rounds: int = Field(3, ge=1, le=100, description="times that it goes over them")

    # Webhooks
    webhook_timeout_s: float = Field(
        10, gt=0, le=300, description="seconds in which an endpoint must have answered"
    )
    webhook_retry_s: float = Field(
        5,
        gt=0,
        description="seconds after which a webhook that failed is sent again; then four times as "
        "long each time, up to 12 hours",
    )
    webhook_retry_hours: float = Field(
        72, ge=0, description="hours after which one that still fails is dead"
    )
    webhook_disable_hours: float = Field(
        120,
        ge=0,
        description="hours after which an endpoint to which nothing could be sent is disabled; "
        "0: it never is",
    )
    webhook_days: float = Field(
        30, ge=0, description="days that webhooks are kept to be looked at; 0: for ever"
    )
    webhook_private_networks: Annotated[tuple[Network, ...], NoDecode] = Field(
        (),
        description="networks, comma-separated, that webhooks may go to though they are not "
        "public, by http as well",
    )
    max_webhooks: int = Field(20, ge=0, description="webhooks of a chain; 0: any number")
    # Orders
    order_window_days: float = Field(
        365,
        ge=0,
        description="days before an order in which its member must have joined to be matched to it "
        "by a member key; 0: however long ago",
    )
    max_orders: int = Field(
        5000, ge=0, description="orders, or members, that one request may send; 0: any number"
    )

    # The page
    locate_timeout_s: float = Field(
        8, gt=0, description="seconds that the page waits for the phone's position"
    )
    position_minutes: float = Field(
        60, gt=0, description="minutes after which a visitor's exact position is forgotten"
    )

    # Logs
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")
    log_format: str = Field(
        "json", pattern="^(json|text)$", description="json for machines, text for people"
    )

    @field_validator("public_url")
    @classmethod
    def _an_origin(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/")

    @field_validator("trusted_proxies", "webhook_private_networks", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(
                ip_network(part.strip(), False) for part in value.split(",") if part.strip()
            )
        return value

    @field_validator("xdb_files", "mmdb_files", mode="before")
    @classmethod
    def _files(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(Path(part.strip()) for part in value.split(",") if part.strip())
        return value

    @field_validator("log_level")
    @classmethod
    def _a_level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
        return value.upper()
