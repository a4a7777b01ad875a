"""Health: alive, and ready to serve."""

import asyncio
from typing import Any

from fastapi import APIRouter, Response

from service import errors
from service.http.context import Json, ServiceDep

router = APIRouter(default_response_class=Json, tags=["operators"])


@router.get("/healthz")
async def alive() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz")
async def ready(service: ServiceDep, response: Response) -> dict[str, Any]:
    """Whether the database answers and the index is loaded; 503 and the reason if not. `trouble`
    is what an operator should look into though visitors are served."""
    reasons = []
    try:
        async with asyncio.timeout(2), service.connection() as connection:
            await connection.execute("SELECT 1")
    except (errors.Unavailable, TimeoutError):
        reasons.append("the database does not answer")
    if not service.directory.loaded:
        reasons.append("the index is not loaded")
    if reasons:
        response.status_code = 503
        return {"status": "unavailable", "reasons": reasons}
    chains = service.directory.chains.values()
    return {
        "status": "ok",
        "chains": len(chains),
        "stores": sum(len(chain.serving) + len(chain.dark) for chain in chains),
        "serving": sum(len(chain.serving) for chain in chains),
        "trouble": service.trouble(),
    }
