"""Programs that benchmarks measure: each runs in a process of its own."""
