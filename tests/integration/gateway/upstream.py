"""A tiny instance: ``python upstream.py SOCKET NAME`` answers HTTP on a Unix socket until it is killed.

What it does is in the path: ``/code/503``, ``/slow/200`` (milliseconds), ``/drop`` (hangs up without an answer),
``/count`` (how many requests came so far, itself not counted), ``/paths`` (what they asked for), ``/stream/3/50`` (so
many events, so many milliseconds apart), ``/early`` (answers without waiting for the body), ``/ws`` (upgrades, then
echoes); anything else echoes the request. Raw asyncio, so that the load a test makes is spent on the gateway.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import ClassVar


class Instance(asyncio.Protocol):
    name = ""
    paths: ClassVar[list[str]] = []
    upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        if self.upgraded:
            self._transport.write(data)
            return
        self._buffer += data
        while True:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
            length = int(headers.get("content-length", "0"))
            if first.split(" ")[1] == "/early":
                self._buffer = b""
                self._write(200, {"bytes": len(rest)})
                return
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            self._answer(first.split(" ")[1], headers, length)

    def _answer(self, path: str, headers: dict[str, str], length: int) -> None:
        what, _, value = path.strip("/").partition("?")[0].partition("/")
        echo = {"instance": self.name, "path": path, "headers": headers, "bytes": length}
        if what in {"count", "paths"}:
            self._write(200, {"count": len(Instance.paths), "paths": Instance.paths})
            return
        Instance.paths.append(path)
        match what:
            case "stream":
                asyncio.get_running_loop().create_task(self._stream(*(int(part) for part in value.split("/"))))
            case "ws":
                self.upgraded = True
                self._transport.write(b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
            case "drop":
                self._transport.close()
            case "slow":
                asyncio.get_running_loop().call_later(int(value) / 1000, self._write, 200, echo)
            case "code":
                self._write(int(value), echo)
            case "challenge":
                self._write(401, echo, "www-authenticate: Bearer\r\n")
            case _:
                self._write(200, echo)

    async def _stream(self, events: int, milliseconds: int) -> None:
        head = "HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        self._transport.write(head.encode())
        for number in range(events):
            if self._transport.is_closing():
                Instance.paths.append("gone")
                return
            event = f"data: {number}\n\n"
            self._transport.write(f"{len(event):x}\r\n{event}\r\n".encode())
            await asyncio.sleep(milliseconds / 1000)
        self._transport.write(b"0\r\n\r\n")

    def _write(self, status: int, body: object, extra: str = "") -> None:
        text = json.dumps(body).encode() if status != 204 else b""
        length = f"content-length: {len(text)}\r\n" if text else ""
        head = f"HTTP/1.1 {status} X\r\n{length}content-type: application/json\r\nazureml-model-deployment: liar\r\n"
        self._transport.write(f"{head}{extra}\r\n".encode() + text)


async def main(socket: str, name: str) -> None:
    Instance.name = name
    server = await asyncio.get_running_loop().create_unix_server(Instance, socket)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
