"""The tests; a package, so that they share networks and helpers."""
