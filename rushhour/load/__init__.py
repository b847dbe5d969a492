"""The load: Locust as a child process, the shape of its user numbers, and the recorder inside it."""
