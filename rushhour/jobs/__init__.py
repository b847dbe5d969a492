"""What is built on runs: each job with its own renderers, so that any can be deleted whole."""
