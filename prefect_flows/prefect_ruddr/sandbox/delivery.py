"""How an answer reaches the client, or does not, when a fault is in its way."""

from __future__ import annotations

import asyncio
from itertools import chain, repeat

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from prefect_ruddr.sandbox.faults import Fault
from prefect_ruddr.sandbox.recording import RecordedRequest

_MOST_UNSENT = 2**16
"""Bytes that wait for the client to read them, before more are written."""


def deliver(
    fault: Fault, real: Response | None, request: RecordedRequest, authorization: str
) -> ASGIApp:
    """Return the application that answers a request in the way of the fault."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if await _gone_within(receive, None if fault.hang else fault.delay):
            return
        if fault.drop:
            await _hang_up(scope, receive)
            return
        if fault.goes_out_raw:
            await _send_raw(fault, scope["state"]["transport"], receive)
            await _hang_up(scope, receive)
            return
        response = fault.answer(real, authorization)
        request.status = response.status_code
        if not fault.drip and fault.cut is None:
            await response(scope, receive, send)
            return
        start = {"status": response.status_code, "headers": response.raw_headers}
        await send({"type": "http.response.start", **start})
        body = bytes(response.body)[: fault.cut]
        for chunk in (body[i : i + 1] for i in range(len(body))) if fault.drip else (body,):
            if fault.drip and await _gone_within(receive, fault.drip):
                return
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if fault.cut is None:
            await send({"type": "http.response.body", "body": b""})
        else:
            await _hang_up(scope, receive)

    return answer


async def _send_raw(fault: Fault, transport: asyncio.WriteTransport, receive: Receive) -> None:
    once = fault.raw or b""
    parts = (once[i : i + 1] for i in range(len(once))) if fault.drip else iter((once,))
    for part in chain(parts, repeat(fault.endless) if fault.endless else ()):
        if fault.drip and await _gone_within(receive, fault.drip):
            return
        transport.write(part)
        await asyncio.sleep(0)  # so that other requests get their turn
        while transport.get_write_buffer_size() > _MOST_UNSENT or transport.is_closing():
            if await _gone_within(receive, 0.01):
                return


async def _hang_up(scope: Scope, receive: Receive) -> None:
    scope["state"]["transport"].close()
    await _gone_within(receive, None)


async def _gone_within(receive: Receive, seconds: float | None) -> bool:
    """Wait, and return at once with True when the client goes away; None waits for that."""
    if seconds == 0:
        return False
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True
