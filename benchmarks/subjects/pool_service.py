"""A small Flask service on a pool of SQLite connections, for gunicorn."""

import os

from flask import Flask, Response, jsonify
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

app = Flask(__name__)
engine = create_engine(f"sqlite:///{os.environ['POOL_SERVICE_DB']}", pool_size=5, max_overflow=5)
QUERY = text("with recursive n(i) as (select 1 union all select i + 1 from n where i < 20) select i from n")


@app.get("/customers/<int:customer_id>/referrals")
def list_referrals(customer_id: int) -> Response:
    """One query and twenty rows: a light endpoint, on which the agent's share is largest."""
    with Session(engine) as session:
        rows = session.execute(QUERY).scalars().all()
    return jsonify(customer=customer_id, referrals=list(rows))
