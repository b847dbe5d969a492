"""A service of the user's own Compose file as the target."""
