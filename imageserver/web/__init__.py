"""The pages: status, health, and what existing tools ask for."""
