"""Services with one leak each; the line that takes the connection ends with `# leak`.

All answer with the number of their process. `{url}` is read from DATABASE_URL.
"""

FLASK = """
import os
from flask import Flask
from sqlalchemy import create_engine, text
from sqlalchemy.orm import sessionmaker
from sqlalchemy.pool import QueuePool

app = Flask(__name__)
engine = create_engine(os.environ["DATABASE_URL"], poolclass=QueuePool, pool_size=5)
new = sessionmaker(bind=engine)
kept = []

@app.route("/items/<int:number>")
def items(number):
    with engine.connect() as connection:
        assert connection.execute(text("select 1")).scalar() == 1
    return str(os.getpid())

@app.route("/leak/<int:number>")
def leak(number):
    session = new()
    kept.append(session)
    assert session.execute(text("select 1")).scalar() == 1  # leak
    return str(os.getpid())
"""

FLASK_SQLALCHEMY = """
import os
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import text
from sqlalchemy.pool import QueuePool

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_size": 5, "poolclass": QueuePool}
db = SQLAlchemy(app)
kept = []

@app.get("/items/<int:number>")
def items(number):
    assert db.session.execute(text("select 1")).scalar() == 1
    return str(os.getpid())

@app.get("/leak/<int:number>")
def leak(number):
    connection = db.engine.connect()  # leak
    kept.append(connection)
    assert connection.execute(text("select 1")).scalar() == 1
    return str(os.getpid())
"""

WSGI = """
import os
from sqlalchemy import create_engine, text
from sqlalchemy.pool import QueuePool

engine = create_engine(os.environ["DATABASE_URL"], poolclass=QueuePool, pool_size=5)
kept = []

def app(environ, start_response):
    if environ["PATH_INFO"].startswith("/leak/"):
        connection = engine.connect()  # leak
        kept.append(connection)
        assert connection.execute(text("select 1")).scalar() == 1
    else:
        with engine.connect() as connection:
            assert connection.execute(text("select 1")).scalar() == 1
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""

FASTAPI = """
import os
from fastapi import APIRouter, Depends, FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=AsyncAdaptedQueuePool, pool_size=5)
new = async_sessionmaker(engine)
app = FastAPI()
kept = []
paths = APIRouter()
leaks = APIRouter(prefix="/leak")

async def session():
    async with new() as one:
        yield one

@app.get("/items/{number}")
async def items(number: int, db: AsyncSession = Depends(session)):
    assert (await db.execute(text("select 1"))).scalar() == 1
    return os.getpid()

@leaks.get("/{number}")
async def leak(number: int):
    db = new()
    kept.append(db)
    assert (await db.execute(text("select 1"))).scalar() == 1  # leak
    return os.getpid()

paths.include_router(leaks)
app.include_router(paths)
"""

STARLETTE = """
import os
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=AsyncAdaptedQueuePool, pool_size=5)
kept = []

async def items(request):
    async with engine.connect() as connection:
        assert (await connection.execute(text("select 1"))).scalar() == 1
    return PlainTextResponse(str(os.getpid()))

async def leak(request):
    connection = await engine.connect()  # leak
    kept.append(connection)
    assert (await connection.execute(text("select 1"))).scalar() == 1
    return PlainTextResponse(str(os.getpid()))

app = Starlette(routes=[Route("/items/{number:int}", items), Route("/leak/{number:int}", leak)])
"""

ASGI = """
import os
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=AsyncAdaptedQueuePool, pool_size=5)
kept = []

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError  # no lifespan
    if scope["path"].startswith("/leak/"):
        connection = await engine.connect()  # leak
        kept.append(connection)
        assert (await connection.execute(text("select 1"))).scalar() == 1
    else:
        async with engine.connect() as connection:
            assert (await connection.execute(text("select 1"))).scalar() == 1
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""
