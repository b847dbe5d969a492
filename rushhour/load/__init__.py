"""Runs Locust as a child process, chooses its number of users, and records its requests."""
