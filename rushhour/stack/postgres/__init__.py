"""PostgreSQL servers, templates and seeding: what all stacks use."""
