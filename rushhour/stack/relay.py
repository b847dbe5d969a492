"""A relay on loopback, to one server, or as the front door of a service whose tasks come and go.

    python relay.py LISTEN_PORT SERVER_PORT
    python relay.py LISTEN_PORT FILE

While it is stopped (SIGSTOP) it is a black hole: the kernel accepts connections and bytes, nothing is passed
on, and neither end notices. FILE lists ports, one per line, newest first, and may be replaced at any time:
each new connection goes to the first port that accepts it, and open connections stay where they are. It thus
acts like a load balancer in front of tasks whose host-mode ports change with every update. It is run by its
path, because importing the whole package would take too long.
"""

import asyncio
import contextlib
import sys
from pathlib import Path

HOST = "127.0.0.1"
CHUNK = 1 << 16
BACKLOG = 1024
WAIT_S = 10.0  # a customer is kept this long while nothing behind the door accepts
AGAIN_S = 0.1


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copy bytes until one end is closed, and close the other."""
    try:
        while chunk := await source.read(CHUNK):
            sink.write(chunk)
            await sink.drain()
    except OSError:
        pass  # one end broke, which the other is about to see
    finally:
        sink.close()


async def to_server(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a port. Raises OSError if it is refused."""
    return await asyncio.open_connection(HOST, port)


async def to_first(file: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first port of the file that accepts. Raises TimeoutError if none does."""
    async with asyncio.timeout(WAIT_S):
        while True:
            for port in file.read_text(encoding="ascii").split():
                with contextlib.suppress(OSError):
                    return await to_server(int(port))
            await asyncio.sleep(AGAIN_S)


async def relay(listen_port: int, target: str) -> None:
    """Relay connections until the process is killed."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await (
                to_server(int(target)) if target.isdecimal() else to_first(Path(target))
            )
        except OSError:  # TimeoutError is one
            writer.close()
            return
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    server = await asyncio.start_server(serve, HOST, listen_port, backlog=BACKLOG)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(relay(int(sys.argv[1]), sys.argv[2]))
