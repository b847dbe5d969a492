"""A service that is not ours, with a scoped session that nobody removes, and its customers."""

SHOP = '''"""A small shop."""
import os

from flask import Flask, jsonify
from sqlalchemy import create_engine, text
from sqlalchemy.orm import scoped_session, sessionmaker

app = Flask(__name__)
engine = create_engine(os.environ["DATABASE_URL"], pool_size=2, max_overflow=1, pool_timeout=1)
reporting = scoped_session(sessionmaker(bind=engine))


@app.get("/health")
def health():
    return "ok"


@app.get("/items")
def items():
    with engine.connect() as connection:
        return jsonify(connection.execute(text("select 1")).scalar())


@app.get("/report/<int:year>")
def report(year):
    return jsonify(reporting.execute(text("select 1")).scalar())  # leak
'''
CUSTOMERS = """
from locust import FastHttpUser, between, task

class Customer(FastHttpUser):
    wait_time = between(0.1, 0.3)

    @task
    def items(self):
        self.client.get("/items")

    @task
    def report(self):
        self.client.get("/report/2026", name="/report/:year")
"""
