"""The front door: one address for the customers, whichever tasks stand behind it.

    python door.py LISTEN_PORT FILE

FILE names the ports behind it, one a line, newest first, and may be replaced at any time: each new connection
goes to the first that accepts it, connections that are open stay where they are. So it does what a load
balancer does in front of tasks whose host-mode ports change with every update. It runs by its path, since the
whole package would take longer to import.
"""

import asyncio
import contextlib
import sys
from pathlib import Path

HOST = "127.0.0.1"
CHUNK = 1 << 16
WAIT_S = 10.0  # a customer is kept this long while nothing behind the door accepts
AGAIN_S = 0.1


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Until one end has closed; then the other is closed too."""
    try:
        while chunk := await source.read(CHUNK):
            sink.write(chunk)
            await sink.drain()
    except OSError:
        pass  # one end broke, which the other is about to see
    finally:
        sink.close()


async def behind(file: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the first port that accepts. Raises TimeoutError when none does."""
    async with asyncio.timeout(WAIT_S):
        while True:
            for port in file.read_text(encoding="ascii").split():
                with contextlib.suppress(OSError):
                    return await asyncio.open_connection(HOST, int(port))
            await asyncio.sleep(AGAIN_S)


async def open_door(listen_port: int, file: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await behind(file)
        except TimeoutError:
            writer.close()
            return
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    server = await asyncio.start_server(serve, HOST, listen_port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(open_door(int(sys.argv[1]), Path(sys.argv[2])))
