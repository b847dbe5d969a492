"""History -> who would have been paged, and what nobody was told (pure; one module per alarm system)."""
