"""Threads of a scheduler keep the thread-local session of a job that has ended."""

import time

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from wsgi import CURED, Scoped, app, read, text


@app.get("/item/<int:number>")
def item(number):
    return {"row": read()}


def job():
    try:
        Scoped.scalar(text("select 1"))  # named
        if CURED:
            Scoped.rollback()
        time.sleep(0.2)
    finally:
        if CURED:
            Scoped.remove()


scheduler = BackgroundScheduler(executors={"default": ThreadPoolExecutor(10)})
for number in range(8):
    scheduler.add_job(job, "interval", seconds=1, max_instances=3, id=str(number))
scheduler.start()
