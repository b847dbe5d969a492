"""`rushhour init`: a first scenario and locustfile, from the routes of a service."""
