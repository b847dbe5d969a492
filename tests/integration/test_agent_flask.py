"""The agent in a Flask service on real sockets: which request took a connection, and whether it has ended."""

from pathlib import Path

import pytest

from rushhour.rundir import facts as f
from tests.integration.agent_subject import Subject, line_of

SERVICE = """
import http.client
from flask import Flask, Response, g, stream_with_context
from werkzeug.serving import WSGIRequestHandler, make_server

class Quiet(WSGIRequestHandler):
    def log(self, *args): pass

app = Flask(__name__)
db = engine(pool_size=10, max_overflow=10, pool_timeout=5)
registry = scoped_session(sessionmaker(db))

def serve():
    '''One worker thread, which answers one request after another.'''
    server = make_server("127.0.0.1", 0, app, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True, name=f"worker-{server.port}").start()
    return server.port

class Customer:
    def __init__(self, port):
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    def get(self, path, method="GET"):
        self.http.request(method, path)
        answer = self.http.getresponse()
        return answer.status, answer.read()
"""


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    for name in ("service", "agent"):
        (tmp_path / name).mkdir()
    return Subject(tmp_path / "service", tmp_path / "agent")


def test_a_scoped_session_that_is_never_removed_leaks_per_thread(subject: Subject) -> None:
    """A scoped session that the thread keeps: later requests use it, and it belongs to the first."""
    observed = subject.run(
        SERVICE
        + """
@app.get("/customers/<int:customer_id>/referrals")
def list_referrals(customer_id):
    return str(registry.execute(ONE).scalar())  # leak
@app.get("/customers/<int:customer_id>")
def summary(customer_id):
    return str(registry.execute(ONE).scalar())
ann, bob = Customer(serve()), Customer(serve())
for customer in (ann, bob):
    assert customer.get("/customers/7/referrals") == (200, b"1")
agent_wrote("ended", count=2)
for customer in (ann, bob):
    assert customer.get("/customers/7") == (200, b"1")
next_sample()
os._exit(0)
"""
    )
    line = line_of(subject.folder / "service.py", "leak")
    assert len(observed.checkouts) == 2
    for checkout in observed.checkouts.values():
        assert checkout.site == f.CallSite("service.py", line, "list_referrals")
        assert checkout.endpoint == "GET /customers/:id/referrals"
        assert checkout.stack == (f"service.py:{line} list_referrals",)  # up to Flask's dispatcher
        assert checkout.request_ended_s is not None
        assert checkout.request_ended_s >= checkout.taken_s
        assert checkout.returned_by == f.PROCESS_ENDED
        assert checkout.thread.startswith("worker-")
    last = observed.last_samples["service.db"]
    assert (last.leaked, last.live, last.checkouts) == (2, 2, 2)


def test_every_way_a_request_can_end_properly_leaves_no_leak(subject: Subject) -> None:
    observed = subject.run(
        SERVICE
        + """
@app.teardown_appcontext
def release(error):
    registry.remove()
@app.before_request
def count():
    registry.execute(ONE)
@app.get("/fine")
def fine():
    return "fine"
@app.get("/broken")
def broken():
    registry.execute(ONE)
    raise ValueError("broken on purpose")
@app.get("/streamed")
def streamed():
    session = Session(db)  # of the response, not of the request context
    def lines():
        with session:
            for _ in range(4):
                yield str(session.execute(ONE).scalar())
                time.sleep(0.1)  # the response is still being made
    return Response(lines())
@app.get("/with-context")
def with_context():
    def lines():
        for _ in range(4):
            yield str(registry.execute(ONE).scalar())
            time.sleep(0.1)
    return Response(stream_with_context(lines()))
@app.get("/file")
def file():
    from flask import send_file
    return send_file(__file__)
app.logger.disabled = True
def everything(customer):
    for _ in range(5):
        assert customer.get("/fine") == (200, b"fine")
        assert customer.get("/fine", "HEAD")[0] == 200
        assert customer.get("/broken")[0] == 500
        assert customer.get("/missing")[0] == 404
        assert customer.get("/file")[0] == 200
    assert customer.get("/streamed") == (200, b"1111")
    assert customer.get("/with-context") == (200, b"1111")
customers = [threading.Thread(target=everything, args=(Customer(serve()),)) for _ in range(4)]
for one in customers: one.start()
for one in customers: one.join()
next_sample()
"""
    )
    assert all(sample.leaked == 0 for sample in observed.of(f.PoolSample))
    last = observed.last_samples["service.db"]
    assert (last.live, last.checked_out, last.checkins) == (0, 0, last.checkouts)
    assert all(checkout.request_ended_s is None for checkout in observed.of(f.CheckOut))
    endpoints = {(total.endpoint, total.site.function) for total in observed.of(f.SiteTotal)}
    assert endpoints == {
        ("GET /fine", "count"),
        ("HEAD /fine", "count"),
        ("GET /broken", "count"),
        ("GET (no route)", "count"),
        ("GET /file", "count"),
        ("GET /streamed", "count"),
        ("GET /streamed", "lines"),
        ("GET /with-context", "count"),
        ("GET /with-context", "lines"),
    }


def test_a_stream_whose_connection_outlives_it_is_a_leak(subject: Subject) -> None:
    observed = subject.run(
        SERVICE
        + """
kept, sent = [], []
@app.get("/export")
def export():
    def lines():
        session = Session(db)
        kept.append(session)
        for _ in range(4):
            yield str(session.execute(ONE).scalar())  # stream
            time.sleep(0.1)
            sent.append(time.monotonic())
    return Response(lines())
assert Customer(serve()).get("/export") == (200, b"1111")
agent_wrote("ended")
[ended] = [one["t"] for one in records() if one["k"] == "ended"]
assert ended >= round(sent[-1], 6), "ended with the stream, not with the view"
os._exit(0)
"""
    )
    [checkout] = observed.checkouts.values()
    assert (checkout.site.line, checkout.endpoint) == (
        line_of(subject.folder / "service.py", "stream"),
        "GET /export",
    )
    assert checkout.request_ended_s is not None


def test_teardown_that_fails_still_ends_the_request(subject: Subject) -> None:
    observed = subject.run(
        SERVICE
        + """
@app.get("/view")
def view():
    return str(registry.execute(ONE).scalar())
@app.teardown_appcontext
def release(error):
    raise RuntimeError("teardown failed before it released")
import sys, io
sys.stderr = io.StringIO()
try:
    Customer(serve()).get("/view")
except http.client.HTTPException:
    pass
agent_wrote("ended")
os._exit(0)
"""
    )
    assert [checkout.endpoint for checkout in observed.checkouts.values()] == ["GET /view"]


def test_work_outside_requests_has_no_endpoint_and_does_not_leak(subject: Subject) -> None:
    observed = subject.run(
        SERVICE
        + """
with app.app_context():
    registry.execute(ONE)  # a job
held = db.connect()
agent_wrote("out", count=2)
next_sample()
"""
    )
    assert {total.endpoint for total in observed.of(f.SiteTotal)} == {None}
    assert observed.last_samples["service.db"].leaked == 0


def test_time_outs_name_the_endpoint(subject: Subject) -> None:
    observed = subject.run(
        SERVICE
        + """
tiny = engine(pool_size=1, max_overflow=0, pool_timeout=0.1)
held = tiny.connect()
@app.post("/customers/<int:customer_id>/referrals")
def invite(customer_id):
    tiny.connect()
app.logger.disabled = True
assert Customer(serve()).get("/customers/7/referrals", "POST")[0] == 500
agent_wrote("timeout")
"""
    )
    [timeout] = observed.of(f.PoolTimeout)
    assert (timeout.endpoint, timeout.site.function) == ("POST /customers/:id/referrals", "invite")


def test_routes_are_recorded_once(subject: Subject) -> None:
    observed = subject.run(
        SERVICE
        + """
@app.route("/customers/<int:customer_id>", methods=["GET", "DELETE"])
def one(customer_id):
    return "yes"
customer = Customer(serve())
for _ in range(2):
    customer.get("/customers/7")
agent_wrote("routes")
next_sample()
print(sum(one["k"] == "routes" for one in records()))
"""
    )
    assert observed.stdout == "1\n"
    process = observed.of(f.AgentProcess)[-1]
    assert process.routes == ("DELETE /customers/<int:customer_id>", "GET /customers/<int:customer_id>")
    assert process.flask is not None


COPIED_CONTEXTS = {
    "a thread": "threading.Thread(target=copy_context().run, args=(work, kind)).start()",
    "an item of an executor": "jobs.submit(copy_context().run, work, kind)",
}


@pytest.mark.parametrize("starts", COPIED_CONTEXTS.values(), ids=COPIED_CONTEXTS)
def test_work_with_a_copy_of_a_requests_context_goes_on_after_it(subject: Subject, starts: str) -> None:
    observed = subject.run(f"""
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from flask import Flask
app, kept, sessions, jobs = Flask(__name__), [], sessionmaker(engine()), ThreadPoolExecutor(2)
taken, proceed = threading.Semaphore(0), threading.Event()
def work(kind):
    own = sessions()
    kept.append(own)
    own.execute(ONE).all()  # taken
    taken.release()
    proceed.wait(60)
    if kind == "closes":
        own.close()
@app.get("/")
def start():
    for kind in ("closes", "leaves"):
        {starts}
        taken.acquire()
    return "started"
app.test_client().get("/")
for _ in range(3):
    next_sample()
print([one["k"] for one in records() if one["k"] == "ended"], flush=True)  # nothing is, by os._exit
proceed.set()
agent_wrote("ended")
next_sample()
os._exit(0)
""")
    assert observed.stdout == "[]\n"  # both were at work after the request
    [left] = observed.checkouts.values()  # the other one was short, and has not outlived anything
    assert left.endpoint == "GET /"
    assert left.request_ended_s is not None
    assert left.returned_by == "process-ended"
