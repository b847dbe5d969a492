"""History -> the numbers of a run (pure)."""
