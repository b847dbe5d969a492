"""Makes the table of counters that the cases with locks update."""

import os

from sqlalchemy import create_engine, text

engine = create_engine(os.environ["DATABASE_URL"].replace("+asyncpg", "+psycopg2"))
with engine.begin() as connection:
    connection.execute(text("create table counters (id int primary key, value int not null)"))
    connection.execute(text("insert into counters select number, 0 from generate_series(0, 999) as number"))
