"""Services with one leak each; the line that takes the connection ends with `# leak`."""

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
        return str(connection.execute(text("select 1")).scalar())

@app.route("/leak/<int:number>")
def leak(number):
    session = new()
    kept.append(session)
    return str(session.execute(text("select 1")).scalar())  # leak
"""

FLASK_SQLALCHEMY = """
import os
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import text

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_size": 5}
db = SQLAlchemy(app)
kept = []

@app.get("/items/<int:number>")
def items(number):
    return str(db.session.execute(text("select 1")).scalar())

@app.get("/leak/<int:number>")
def leak(number):
    connection = db.engine.connect()  # leak
    kept.append(connection)
    return str(connection.execute(text("select 1")).scalar())
"""

FASTAPI = """
import os
from fastapi import Depends, FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

engine = create_async_engine(os.environ["DATABASE_URL"].replace("sqlite:", "sqlite+aiosqlite:"))
new = async_sessionmaker(engine)
app = FastAPI()
kept = []

async def session():
    async with new() as one:
        yield one

@app.get("/items/{number}")
async def items(number: int, db: AsyncSession = Depends(session)):
    return (await db.execute(text("select 1"))).scalar()

@app.get("/leak/{number}")
async def leak(number: int):
    db = new()
    kept.append(db)
    return (await db.execute(text("select 1"))).scalar()  # leak
"""
