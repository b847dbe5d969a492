"""Access logs of production, read as a stream of requests, and the customers that are modelled from them."""
