"""`rushhour agent exec`: the pool agent in any Python service, with no stack and no load."""
