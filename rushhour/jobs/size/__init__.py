"""How large a pool must be: predictions for sizes that were not run, and a recommendation."""
