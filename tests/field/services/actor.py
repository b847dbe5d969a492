"""Dramatiq workers in the service's process: an actor never removes the session of its thread."""

import dramatiq
from dramatiq.brokers.stub import StubBroker
from wsgi import CURED, Scoped, app, read, text

broker = StubBroker()
dramatiq.set_broker(broker)


class Repository:
    def touch(self, number):
        return Scoped.execute(text("select :number"), {"number": number}).scalar()  # named


@dramatiq.actor(max_retries=0)
def index(number):
    Repository().touch(number)
    if CURED:
        Scoped.remove()


broker.declare_queue("default")
worker = dramatiq.Worker(broker, worker_threads=8)
worker.start()


@app.get("/item/<int:number>")
def item(number):
    index.send(number)
    return {"row": read()}
