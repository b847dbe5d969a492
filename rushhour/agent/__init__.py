"""The pool agent: it runs inside the service and writes down what every connection pool does.

It is loaded by path under a private name, in the service's own interpreter, where neither rushhour nor its
dependencies need to be installed. So it uses relative imports and the standard library only; SQLAlchemy and
Flask are patched after the service itself imported them, and are never imported here.
"""
