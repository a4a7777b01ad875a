"""The least that a web framework does for a position: `python -m tests.benchmarks.bare PORT FILE`.

The same path, the same body checked by the same model, the same server and its settings; the answer
is the JSON of FILE, written anew for each request. No database, no log, no metrics.
"""

import sys
from pathlib import Path

import orjson
import uvicorn
from fastapi import FastAPI

from service import server
from service.http.context import Json
from service.http.visitor import PositionBody


def create_app(answer: object) -> FastAPI:
    app = FastAPI(default_response_class=Json)

    @app.post("/api/v1/scans/{scan_id}/position")
    async def position(scan_id: str, body: PositionBody) -> Json:
        return Json(answer)

    @app.get("/readyz")
    async def ready() -> Json:
        return Json({})

    return app


def main(port: int, answer: Path) -> None:
    config = server.configured(create_app(orjson.loads(answer.read_bytes())))
    config.http = "httptools"  # as uvicorn comes
    uvicorn.Server(config).run(sockets=[server.listen("127.0.0.1", port)])


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
