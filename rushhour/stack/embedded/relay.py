"""A relay between the service and one server. While it is stopped (SIGSTOP) it is a black hole.

    python relay.py LISTEN_PORT SERVER_PORT

Stopped, it lets connections open and bytes come in, for the kernel answers for it, and passes nothing on:
neither end learns of it. It runs by its path, since the whole package would take longer to import than to
relay.
"""

import asyncio
import sys

HOST = "127.0.0.1"
CHUNK = 1 << 16


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


async def relay(listen_port: int, server_port: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(HOST, server_port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, server_writer), pump(server_reader, writer))

    server = await asyncio.start_server(serve, HOST, listen_port, backlog=128)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(relay(int(sys.argv[1]), int(sys.argv[2])))
