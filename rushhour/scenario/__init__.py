"""scenarios.yaml -> Scenario."""
