"""What a run is told as: in the terminal, as one HTML page, as JUnit XML and as Markdown (pure renderers)."""
