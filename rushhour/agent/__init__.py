"""The pool agent: runs inside the service and records what every connection pool does.

It is loaded by path under a private name, in the service's own interpreter, where neither rushhour nor its
dependencies need to be installed. It therefore uses relative imports and the standard library only.
SQLAlchemy and Flask are patched after the service has imported them, and are never imported here.
"""
