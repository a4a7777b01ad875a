"""The chain's own settings."""

import zoneinfo

from fastapi import APIRouter, Response

from service import chains, currencies, errors
from service.http import chains as api
from service.http.hq.desk import Desk, DeskDep, HqRoute, checked, values_of
from service.web import hq

router = APIRouter(include_in_schema=False, route_class=HqRoute)

# The ones that a chain in China is likely to have, before all others.
_FIRST = ("CNY", "HKD", "MOP", "TWD")


@router.get("/hq/chain")
async def chain(desk: DeskDep) -> Response:
    return await _page(desk)


async def _page(desk: Desk, said: hq.Said | None = None) -> Response:
    if not desk.may_change:
        raise errors.NotAllowed("This needs an hq key")
    found = await api.get_chain(desk.service, desk.caller)
    codes = [*_FIRST, *sorted(currencies.CODES - set(_FIRST))]
    return desk.html(
        "chain.html",
        "chain",
        status=422 if said else 200,
        chain=found,
        said=said,
        currencies=[(code, _named(desk, code)) for code in codes],
        zones=sorted(zoneinfo.available_timezones()),
        name_most=chains.NAME_MAX_LENGTH,
    )


def _named(desk: Desk, code: str) -> str:
    return f"{code} · {desk.say(f'currency.{code}')}" if code in _FIRST else code


@router.post("/hq/chain")
async def save(desk: DeskDep) -> Response:
    async with desk.sent() as form:
        values = values_of(form)
    named = {name: values[name] for name in chains.FIELDS if name in values}
    try:
        await api.change_chain(checked(api.ChainBody, named), desk.service, desk.caller)
    except errors.BadInput as error:
        return await _page(desk, desk.said(error, values))
    return desk.done("/hq/chain", "saved")
