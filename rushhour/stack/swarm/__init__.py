"""A fleet of services on a Docker Swarm of one node, which is made for it and left again."""
