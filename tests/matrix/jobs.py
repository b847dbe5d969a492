"""Runners of work that is no HTTP request: each runs `work` or `async_work` thrice, then waits for more.

With CURED=1 in its environment, the work gives its connection back. The line that takes it is marked `leak`.
"""

from dataclasses import dataclass
from typing import Final

SHOP: Final = """
import asyncio, os
from sqlalchemy import create_engine, text
from sqlalchemy.orm import scoped_session, sessionmaker
from sqlalchemy.pool import QueuePool

CURED = "CURED" in os.environ
engine = create_engine("sqlite:///jobs.db", poolclass=QueuePool, connect_args={"check_same_thread": False})
registry = scoped_session(sessionmaker(engine))

def work():
    registry.execute(text("select 1")).all()  # leak
    if CURED:
        registry.remove()
    done()

def done():
    with open("done", "a") as file:
        file.write("x")
"""
ASYNC_SHOP: Final = """
import os
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from shop import CURED, done, work

async_sessions = async_sessionmaker(create_async_engine("sqlite+aiosqlite:///jobs.db", poolclass=None))
kept = []

async def async_work():
    session = async_sessions()
    kept.append(session)
    await session.execute(text("select 1"))  # async leak
    if CURED:
        await session.close()
    done()
"""
_CELERY = """
from celery import Celery
from celery.signals import worker_ready
from shop import work

app = Celery(broker="memory://")
job = app.task(work)

@worker_ready.connect
def begin(**_):
    for _ in range(3):
        job.delay()
"""
_RQ = """
import fakeredis
from rq import Queue, SimpleWorker
from shop import work

connection = fakeredis.FakeStrictRedis()
jobs = Queue(connection=connection)
for _ in range(3):
    jobs.enqueue(work)
SimpleWorker([jobs], connection=connection).work()
"""
_DRAMATIQ = """
import time
import dramatiq
from dramatiq.brokers.stub import StubBroker
from shop import work

broker = StubBroker()
dramatiq.set_broker(broker)
job = dramatiq.actor(work)
worker = dramatiq.Worker(broker, worker_threads=2)
worker.start()
for _ in range(3):
    job.send()
time.sleep(60)
"""
_HUEY = """
import sys
if sys.argv[1] == "greenlet":
    from gevent import monkey
    monkey.patch_all()
from huey import MemoryHuey, SqliteHuey
from shop import work

huey = SqliteHuey(filename="huey.db") if sys.argv[1] == "process" else MemoryHuey()
job = huey.task()(work)
for _ in range(3):
    job()
huey.create_consumer(workers=2, worker_type=sys.argv[1]).run()
"""
_APSCHEDULER_3 = """
import asyncio, sys, time
from datetime import datetime, timedelta
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from shop import work

def begin(scheduler, job):
    scheduler.start()
    for n in range(3):
        due = datetime.now() + timedelta(seconds=n / 10)
        scheduler.add_job(job, "date", run_date=due, misfire_grace_time=None)  # late is not too late

async def main(job):
    begin(AsyncIOScheduler(), job)
    await asyncio.sleep(60)

if sys.argv[1] == "thread":
    begin(BackgroundScheduler(), work)
    time.sleep(60)
elif sys.argv[1] == "asyncio":
    asyncio.run(main(work))
else:
    from async_shop import async_work
    asyncio.run(main(async_work))
"""
_APSCHEDULER_4 = """
import asyncio, sys
from apscheduler import AsyncScheduler
from async_shop import async_work
from shop import work

async def main():
    async with AsyncScheduler() as scheduler:
        for _ in range(3):
            await scheduler.add_job(work if sys.argv[1] == "sync" else async_work)
        await scheduler.run_until_stopped()

asyncio.run(main())
"""
_PROCRASTINATE = """
import asyncio, sys
from procrastinate import App
from procrastinate.testing import InMemoryConnector
from async_shop import async_work
from shop import work

app = App(connector=InMemoryConnector())

@app.task
def sync_job():
    work()

@app.task
async def async_job():
    await async_work()

async def main():
    async with app.open_async():
        for _ in range(3):
            await (sync_job if sys.argv[1] == "sync" else async_job).defer_async()
        await app.run_worker_async(concurrency=2)

asyncio.run(main())
"""
_TASKIQ = """
import asyncio
from taskiq import InMemoryBroker
from async_shop import async_work

broker = InMemoryBroker()
job = broker.task(async_work)

async def main():
    await broker.startup()
    for _ in range(3):
        await job.kiq()
    await asyncio.sleep(60)

asyncio.run(main())
"""
_OWN_LOOP = """
import asyncio, queue, sys, threading, time
from async_shop import async_sessions, kept, text
from shop import CURED, done, engine
from sqlalchemy.orm import Session

def in_a_thread(items):
    while True:
        items.get()
        session = Session(engine)
        kept.append(session)
        session.execute(text("select 1"))  # thread leak
        if CURED:
            session.close()
        done()

async def in_a_task(items):
    while True:
        await items.get()
        session = async_sessions()
        kept.append(session)
        await session.execute(text("select 1"))  # task leak
        if CURED:
            await session.close()
        done()

async def main():
    items = asyncio.Queue()
    workers = [asyncio.create_task(in_a_task(items)) for _ in range(2)]
    for number in range(3):
        items.put_nowait(number)
    await asyncio.sleep(60)

if sys.argv[1] == "thread":
    items = queue.Queue()
    for _ in range(2):
        threading.Thread(target=in_a_thread, args=(items,), daemon=True).start()
    for number in range(3):
        items.put(number)
    time.sleep(60)
else:
    asyncio.run(main())
"""
CLIENT: Final = """
import sys, time
import socketio

client = socketio.Client()
client.connect(f"http://127.0.0.1:{sys.argv[1]}", wait_timeout=60, retry=True)  # it may not listen yet
for _ in range(3):
    client.emit("order", {"number": 1})
    time.sleep(0.1)
time.sleep(60)
"""
_FLASK_SOCKETIO = """
import subprocess, sys
mode, port = sys.argv[1], sys.argv[2]
if mode == "gevent":
    from gevent import monkey
    monkey.patch_all()
elif mode == "eventlet":
    import eventlet
    eventlet.monkey_patch()
from flask import Flask
from flask_socketio import SocketIO
from shop import work

app = Flask(__name__)
sockets = SocketIO(app, async_mode=mode)

@sockets.on("order")
def order(_message):
    work()

client = subprocess.Popen([sys.executable, "-I", "client.py", port])
try:
    extra = {"allow_unsafe_werkzeug": True} if mode == "threading" else {}
    sockets.run(app, host="127.0.0.1", port=int(port), **extra)
finally:
    client.kill()
"""
_PYTHON_SOCKETIO = """
import subprocess, sys
import socketio, uvicorn
from shop import work
from async_shop import async_work

kind, port = sys.argv[1], sys.argv[2]
server = socketio.AsyncServer(async_mode="asgi")

if kind == "sync":
    @server.on("order")
    def order(_sid, _message):
        work()
else:
    @server.on("order")
    async def order(_sid, _message):
        await async_work()

client = subprocess.Popen([sys.executable, "-I", "client.py", port])
try:
    uvicorn.run(socketio.ASGIApp(server), host="127.0.0.1", port=int(port), log_level="warning")
finally:
    client.kill()
"""
_FASTAPI = """
import asyncio, sys
from contextlib import asynccontextmanager
import uvicorn, websockets, httpx
from fastapi import BackgroundTasks, Depends, FastAPI, WebSocket
from sqlalchemy import text
from shop import CURED, done, engine, sessionmaker, work
from async_shop import async_work

kind, port = sys.argv[1], sys.argv[2]
kept = []

async def listening():
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", int(port))
    except OSError:
        return False
    writer.close()
    return True

async def call():
    while not await listening():
        await asyncio.sleep(0.05)
    for _ in range(3):
        if kind.startswith("websocket"):
            async with websockets.connect(f"ws://127.0.0.1:{port}/{kind}") as socket:
                await socket.recv()
        elif kind.startswith("background"):
            async with httpx.AsyncClient() as client:
                await client.get(f"http://127.0.0.1:{port}/{kind}")

async def step():
    await async_work()

@asynccontextmanager
async def lifespan(app):
    if kind == "startup":
        await asyncio.gather(*(asyncio.create_task(step()) for _ in range(3)))
    calling = asyncio.create_task(call())
    yield

app = FastAPI(lifespan=lifespan)

def connection():
    found = engine.connect()  # dependency leak
    kept.append(found)
    found.execute(text("select 1"))
    yield found
    if CURED:
        found.close()

@app.websocket("/websocket")
async def websocket(socket: WebSocket):
    await socket.accept()
    await async_work()
    await socket.send_text("done")

@app.websocket("/websocket-dependency")
async def websocket_dependency(socket: WebSocket, found=Depends(connection)):
    await socket.accept()
    await socket.send_text("done")
    await asyncio.sleep(1.5)
    done()

@app.get("/background")
async def background(tasks: BackgroundTasks):
    tasks.add_task(work)
    tasks.add_task(asyncio.sleep, 3)

@app.get("/background-async")
async def background_async(tasks: BackgroundTasks):
    tasks.add_task(async_work)
    tasks.add_task(asyncio.sleep, 3)

uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")
"""


@dataclass(frozen=True, slots=True)
class Runner:
    """`command` is run in a folder with shop.py, async_shop.py, client.py and `source` as jobs.py."""

    name: str
    packages: tuple[str, ...]
    source: str
    command: str
    marker: str = "leak"  # of the line that takes the connection


_ASYNC = ("sqlalchemy[asyncio]", "aiosqlite")
_WEB = ("fastapi", "uvicorn[standard]", "websockets", "httpx", *_ASYNC)
_WORKER = "{bin}/celery -A jobs worker --loglevel=ERROR --concurrency 2 -P "
_SOCKETS = ("python-socketio[client]", "sqlalchemy")
_PYTHON = "{bin}/python jobs.py "

RUNNERS: Final = (
    Runner("celery threads", ("celery", "sqlalchemy"), _CELERY, _WORKER + "threads"),
    Runner("celery prefork", ("celery", "sqlalchemy"), _CELERY, _WORKER + "prefork"),
    Runner("celery gevent", ("celery", "sqlalchemy", "gevent"), _CELERY, _WORKER + "gevent"),
    Runner("celery eventlet", ("celery", "sqlalchemy", "eventlet"), _CELERY, _WORKER + "eventlet"),
    Runner("celery solo", ("celery", "sqlalchemy"), _CELERY, _WORKER + "solo"),
    Runner("rq", ("rq", "fakeredis", "sqlalchemy"), _RQ, _PYTHON),
    Runner("dramatiq", ("dramatiq", "sqlalchemy"), _DRAMATIQ, _PYTHON),
    Runner("huey threads", ("huey", "gevent", "sqlalchemy"), _HUEY, _PYTHON + "thread"),
    Runner("huey greenlets", ("huey", "gevent", "sqlalchemy"), _HUEY, _PYTHON + "greenlet"),
    Runner("huey processes", ("huey", "gevent", "sqlalchemy"), _HUEY, _PYTHON + "process"),
    Runner("apscheduler 3", ("apscheduler==3.*", *_ASYNC), _APSCHEDULER_3, _PYTHON + "thread"),
    Runner("apscheduler 3 asyncio", ("apscheduler==3.*", *_ASYNC), _APSCHEDULER_3, _PYTHON + "asyncio"),
    Runner(
        "apscheduler 3 coroutine",
        ("apscheduler==3.*", *_ASYNC),
        _APSCHEDULER_3,
        _PYTHON + "coroutine",
        "async leak",
    ),
    Runner("apscheduler 4", ("apscheduler==4.0.0a6", *_ASYNC), _APSCHEDULER_4, _PYTHON + "sync"),
    Runner(
        "apscheduler 4 coroutine",
        ("apscheduler==4.0.0a6", *_ASYNC),
        _APSCHEDULER_4,
        _PYTHON + "async",
        "async leak",
    ),
    Runner("procrastinate", ("procrastinate", *_ASYNC), _PROCRASTINATE, _PYTHON + "sync"),
    Runner(
        "procrastinate coroutine", ("procrastinate", *_ASYNC), _PROCRASTINATE, _PYTHON + "async", "async leak"
    ),
    Runner("taskiq coroutine", ("taskiq", *_ASYNC), _TASKIQ, _PYTHON, "async leak"),
    Runner("threads of its own", _ASYNC, _OWN_LOOP, _PYTHON + "thread", "thread leak"),
    Runner("tasks of its own", _ASYNC, _OWN_LOOP, _PYTHON + "task", "task leak"),
    Runner(
        "flask-socketio threading",
        ("flask-socketio", "simple-websocket", *_SOCKETS),
        _FLASK_SOCKETIO,
        _PYTHON + "threading {port}",
    ),
    Runner(
        "flask-socketio gevent",
        ("flask-socketio", "gevent", "gevent-websocket", *_SOCKETS),
        _FLASK_SOCKETIO,
        _PYTHON + "gevent {port}",
    ),
    Runner(
        "flask-socketio eventlet",
        ("flask-socketio", "eventlet", *_SOCKETS),
        _FLASK_SOCKETIO,
        _PYTHON + "eventlet {port}",
    ),
    Runner("python-socketio", (*_SOCKETS, *_WEB), _PYTHON_SOCKETIO, _PYTHON + "sync {port}"),
    Runner(
        "python-socketio coroutine",
        (*_SOCKETS, *_WEB),
        _PYTHON_SOCKETIO,
        _PYTHON + "async {port}",
        "async leak",
    ),
    Runner("websocket", _WEB, _FASTAPI, _PYTHON + "websocket {port}", "async leak"),
    Runner(
        "websocket with a dependency",
        _WEB,
        _FASTAPI,
        _PYTHON + "websocket-dependency {port}",
        "dependency leak",
    ),
    Runner("background task", _WEB, _FASTAPI, _PYTHON + "background {port}"),
    Runner("background coroutine", _WEB, _FASTAPI, _PYTHON + "background-async {port}", "async leak"),
    Runner("task at start-up", _WEB, _FASTAPI, _PYTHON + "startup {port}", "async leak"),
)
