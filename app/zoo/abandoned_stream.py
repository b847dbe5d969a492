"""A streamed response whose client stops reading, while its cursor is open.

The class: an export is streamed row by row from a server-side cursor. The client's phone loses its network,
or its reader stops reading: the server's `send` blocks, the generator is neither finished nor closed, and
its connection is out until TCP gives up.

Cured: each page is read, the connection returned, and only then is the page sent.
"""

from collections.abc import Iterator

from flask import Flask, Response
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from app.config import Config
from app.connectors import Connectors
from app.models import Referral, StatusEvent

PAGE = 1000  # referrals
HEAD = "referral,invitee,channel,created,status,since\n"


def lines() -> Select[str]:
    """Query that returns a line for each status of a referral, written by PostgreSQL."""
    columns = (
        Referral.id,
        Referral.invitee_email,
        Referral.channel,
        Referral.created_at,
        StatusEvent.status,
        StatusEvent.occurred_at,
    )
    return (
        select(func.concat_ws(",", *columns).concat("\n"))
        .join_from(Referral, StatusEvent, StatusEvent.referral_id == Referral.id)
        .order_by(Referral.id, StatusEvent.step)
    )


def install(app: Flask, connectors: Connectors, config: Config) -> None:
    engine = connectors.referrals.engine

    def stream() -> Iterator[str]:
        yield HEAD
        with Session(engine) as session:
            for page in session.scalars(lines(), execution_options={"yield_per": PAGE}).partitions():
                yield "".join(page)

    def stream_pages() -> Iterator[str]:
        yield HEAD
        after = 0
        while True:
            with Session(engine) as session:
                last = session.scalar(select(func.max(Referral.id)))
                page = session.scalars(lines().where(Referral.id.between(after + 1, after + PAGE))).all()
            yield "".join(page)
            after += PAGE
            if last is None or after >= last:
                return

    @app.get("/referrals.csv")
    def export_referrals() -> Response:
        """Stream all referrals with their history, one status on each line."""
        return app.response_class(stream_pages() if config.cured else stream(), mimetype="text/csv")
