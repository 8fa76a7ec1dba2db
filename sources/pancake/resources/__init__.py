"""One module per table that a user can query."""
