"""Renders reports of a run: terminal, HTML page, JUnit XML and Markdown."""
