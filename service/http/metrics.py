"""`GET /metrics`: for Prometheus, which asks the service itself and shows no key.

It names no person and no store, but how a chain does is nobody else's business. Visitors come
through a proxy, so what a proxy has passed on is not answered.
"""

import asyncio

from fastapi import APIRouter, Request, Response

from service import errors, metrics
from service.http.context import ServiceDep

router = APIRouter(tags=["operators"])

_PASSED_ON = ("x-forwarded-for", "forwarded", "via")


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def tell(request: Request, service: ServiceDep) -> Response:
    """Every worker's metrics, in Prometheus' text format; 404 through a proxy."""
    if any(header in request.headers for header in _PASSED_ON):
        raise errors.NotFound("Ask the service itself, not through a proxy")
    service.measure()
    # The files of many workers take some milliseconds to read.
    told = await asyncio.to_thread(metrics.exposition)
    return Response(told, media_type=metrics.CONTENT_TYPE)
