"""Plans of the store's statements, seen while they do what they do in life."""
