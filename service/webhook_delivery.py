"""Delivering webhooks: each worker takes what is due, sends it, and writes what came of it.

A delivery is taken with a lease: should the worker die, another takes it again when that is over.
So each is delivered at least once, always with the same `webhook-id`, by which a receiver knows
one that it has had. What fails is tried again after 5 s, 20 s, 80 s ... 12 h, give or take a fifth,
for three days; then it is dead, and stays in the list to be looked at and sent again.

An endpoint has a few deliveries under way at a worker and no more, and while it fails one alone,
so that one that is slow holds up none of the others. One that answers 410 Gone is disabled, and so
is one that has failed for days; one that asks for patience (429 or 503 with `Retry-After`) is let
alone so long.
"""

import asyncio
import contextlib
import random
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson
import structlog

from service import db, errors, metrics, outbox, webhooks
from service.directory import Directory
from service.outbox import Event
from service.settings import Settings
from service.webhook_sending import Reply, Sender, next_url

log = structlog.get_logger("nearcode.webhooks")

_sql = db.load("webhooks")

_LOOK_EVERY_S = 0.25
_MEASURE_EVERY_S = 5
_EACH = 10  # deliveries under way at once, of one endpoint at one worker
_GROWTH = 4
_LONGEST_PAUSE_S = 12 * 3600
_LONGEST_PATIENCE_S = 86_400
_JITTER = 0.2
# What may pass, besides the attempt itself, between taking a delivery and having written of it.
_SLACK_S = 5
_FINISH_WITHIN_S = 5

_PATIENT = (429, 503)
_GONE = 410
TRIAL = "webhook.test"


class Deliveries:
    """One worker's part in delivering. `run` it beside the rest."""

    def __init__(
        self, connect: db.Connect, directory: Directory, settings: Settings, secret: bytes
    ) -> None:
        self._connect, self._directory = connect, directory
        self._settings, self._secret = settings, secret
        self._sender = Sender(settings.webhook_private_networks, settings.webhook_timeout_s)
        self._lease_s = settings.webhook_timeout_s + _SLACK_S
        self._under_way: dict[asyncio.Task[None], uuid.UUID] = {}
        self._something_done = asyncio.Event()
        self._measured_at = 0.0

    async def run(self) -> None:
        """Deliver, until cancelled; what is under way then gets a moment to finish."""
        told_of_trouble = False
        try:
            while True:
                try:
                    await self._look()
                    told_of_trouble = False
                except (errors.Unavailable, asyncpg.PostgresError, OSError) as error:
                    if not told_of_trouble:
                        log.warning("webhooks are not looked at", error=str(error))
                    told_of_trouble = True
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._something_done.wait(), _LOOK_EVERY_S)
                self._something_done.clear()
        finally:
            if self._under_way:
                _, late = await asyncio.wait(self._under_way, timeout=_FINISH_WITHIN_S)
                for task in late:
                    task.cancel()
            await self.aclose()

    async def aclose(self) -> None:
        """Close the connections to endpoints. `run` does so in the end."""
        await self._sender.aclose()

    async def _look(self) -> None:
        # Where nobody wants to be told of anything, nothing is asked of the database.
        if not any(chain.webhook_events for chain in self._directory.chains.values()):
            metrics.OUTBOX_AGE_SECONDS.set(0)
            return
        busy = Counter(self._under_way.values())
        async with self._connect() as connection:
            taken = await db.rows(
                _sql.claim(
                    connection,
                    each=_EACH,
                    busy_webhooks=list(busy),
                    busy=list(busy.values()),
                    lease_s=self._lease_s,
                )
            )
            if time.monotonic() - self._measured_at >= _MEASURE_EVERY_S:
                metrics.OUTBOX_AGE_SECONDS.set(await _sql.oldest_due_s(connection))
                self._measured_at = time.monotonic()
        for row in taken:
            task = asyncio.create_task(self._deliver_aside(row))
            self._under_way[task] = row["webhook_id"]
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        self._something_done.set()

    async def _deliver_aside(self, row: asyncpg.Record) -> None:
        try:
            await self.deliver(row)
        except (errors.Unavailable, asyncpg.PostgresError, OSError) as error:
            # It is due again when the lease is over.
            log.warning("what came of a webhook is not written", error=str(error))
        except Exception:
            log.exception("a webhook failed by a mistake of ours")

    async def try_out(
        self, chain_id: uuid.UUID, webhook_id: uuid.UUID, data: Mapping[str, Any]
    ) -> asyncpg.Record:
        """Send a message of the type `webhook.test` to one endpoint, enabled or not, once and now;
        the delivery as it came out. Raises `errors.NotFound`."""
        made = outbox.row(chain_id, TRIAL, data)
        async with self._connect() as connection:
            await webhooks.get(connection, chain_id, webhook_id)
            taken = await _sql.put_trial(
                connection, webhook_id=webhook_id, lease_s=self._lease_s, **made
            )
        await self.deliver(taken)
        async with self._connect() as connection:
            return await webhooks.delivery(connection, chain_id, webhook_id, made["event_id"])

    async def deliver(self, row: Mapping[str, Any]) -> None:
        """One attempt at a delivery that was taken, and what comes of it."""
        message_id, body = str(row["event_id"]), row["body"]
        signed = webhooks.signed_headers(self._secret, row, message_id, body, datetime.now(UTC))
        headers = {"content-type": "application/json", "user-agent": "nearcode", **signed}
        reply = await self._sender.post(row["url"], headers, body.encode())
        state, pause_s = self._verdict(row, reply)
        key = {"chain_id": row["chain_id"], "webhook_id": row["webhook_id"]}
        error = reply.error
        if error is None and not reply.ok:
            error = f"answered {reply.status}"
        async with self._connect() as connection, connection.transaction():
            mine = await _sql.settle(
                connection,
                **key,
                event_id=row["event_id"],
                attempts=row["attempts"],
                state=state,
                pause_s=pause_s,
                status=reply.status,
                error=error,
                duration_ms=reply.duration_ms,
            )
            if mine is None:
                return  # another worker has taken it since
            if reply.ok:
                await _sql.went_well(connection, **key)
                if row["event"] == Event.JOIN_CREATED:
                    await self._keep_next_url(connection, row, reply)
        metrics.delivered("delivered" if reply.ok else "dead" if state == "dead" else "failed")
        if not reply.ok:
            await self._heed(key, row, reply)

    def _verdict(self, row: Mapping[str, Any], reply: Reply) -> tuple[str, float]:
        """What becomes of a delivery after an attempt: its state, and seconds until the next."""
        if reply.ok:
            return "delivered", 0.0
        if reply.status == _GONE or row["event"] == TRIAL:
            return "dead", 0.0
        settings = self._settings
        attempts = min(row["attempts"], 20)
        pause_s = min(settings.webhook_retry_s * _GROWTH ** (attempts - 1), _LONGEST_PAUSE_S)
        pause_s *= random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
        pause_s = max(pause_s, _patience_s(reply))
        tried_s = (datetime.now(UTC) - row["since"]).total_seconds()
        if tried_s + pause_s > settings.webhook_retry_hours * 3600:
            return "dead", 0.0
        return "pending", pause_s

    async def _heed(
        self, key: Mapping[str, uuid.UUID], row: Mapping[str, Any], reply: Reply
    ) -> None:
        """What a failure says of the endpoint."""
        settings = self._settings
        async with self._connect() as connection:
            failing_s = await _sql.went_wrong(connection, **key, patience_s=_patience_s(reply))
            reason = None
            if reply.status == _GONE:
                reason = "gone"
            elif (
                settings.webhook_disable_hours
                and failing_s is not None
                and failing_s > settings.webhook_disable_hours * 3600
            ):
                reason = "failing"
            if reason and await webhooks.disable(connection, **key, reason=reason):
                log.warning("webhook disabled", webhook_id=str(row["webhook_id"]), reason=reason)
                await self._directory.refresh(connection)

    async def _keep_next_url(
        self, connection: db.Connection, row: Mapping[str, Any], reply: Reply
    ) -> None:
        """Where the CRM sends the visitor next, if its answer says so."""
        try:
            answer = orjson.loads(reply.body)
        except orjson.JSONDecodeError:
            return
        told = answer.get("next_url") if isinstance(answer, dict) else None
        if told is None:
            return
        url = next_url(told, self._settings.webhook_private_networks)
        if url is None:
            log.warning("a next_url is not shown: it is no https:// URL without credentials")
            return
        join_id = uuid.UUID(orjson.loads(row["body"])["data"]["join_id"])
        await _sql.keep_next_url(
            connection, chain_id=row["chain_id"], join_id=join_id, next_url=url
        )


def _patience_s(reply: Reply) -> float:
    return min(reply.retry_after_s, _LONGEST_PATIENCE_S) if reply.status in _PATIENT else 0.0
