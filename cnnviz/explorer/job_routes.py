"""Addresses of long tasks: begun, watched by server-sent events, cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from cnnviz.explorer.exploration import Exploration
from cnnviz.explorer.jobs import LongTask, LongTasks
from cnnviz.explorer.questions.made_answers import job_of
from cnnviz.explorer.routes import PlainResponse, read_json, safely

__all__ = ["job_routes"]

OFTEN: Final = 0.08
"""Seconds until it is looked again whether there is news."""
ALIVE: Final = 10.0
"""Seconds after which a line without news keeps the connection open."""
UNWATCHED: Final = 30.0
"""Seconds that a job goes on with nobody watching it."""


def job_routes(exploration: Exploration) -> list[Route]:
    """The routes of an exploration's jobs."""
    jobs = LongTasks()

    async def begin(request: Request) -> Response:
        job = jobs.add(job_of(exploration, await read_json(request)))
        job.start(exploration.worker)
        asyncio.get_running_loop().call_later(UNWATCHED, partial(_leave, job))
        return PlainResponse({"job": job.name})

    async def events(request: Request) -> Response:
        return StreamingResponse(_watch(jobs.find(request.path_params["name"])), media_type="text/event-stream")

    async def cancel(request: Request) -> Response:
        job = jobs.find(request.path_params["name"])
        job.cancel()
        return PlainResponse(job.read()[1])

    return [
        Route("/api/jobs", safely(begin), methods=["POST"]),
        Route("/api/jobs/{name}/events", safely(events), methods=["GET"]),
        Route("/api/jobs/{name}", safely(cancel), methods=["DELETE"]),
    ]


def _leave(job: LongTask) -> None:
    """Cancel a job that nobody watches."""
    if job.watchers == 0 and not job.done:
        job.cancel()


async def _watch(job: LongTask) -> AsyncIterator[str]:
    """News of a job until it ends; whoever closes the page cancels it."""
    job.watchers += 1
    seen, silent = -1, 0.0
    try:
        while True:
            changes, said = job.read()
            if changes != seen:
                seen, silent = changes, 0.0
                yield f"data: {bytes(PlainResponse(said).body).decode()}\n\n"
                if said["done"]:
                    return
            elif silent > ALIVE:
                silent = 0.0
                yield ": alive\n\n"
            silent += OFTEN
            await asyncio.sleep(OFTEN)
    finally:
        job.watchers -= 1
        _leave(job)
