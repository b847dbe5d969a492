"""Processes: started, metered, and ended whatever ends the harness."""
