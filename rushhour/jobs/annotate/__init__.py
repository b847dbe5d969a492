"""Findings for CI servers: workflow commands, a code quality report, SARIF, a comment."""
