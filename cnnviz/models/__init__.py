"""Opening networks, one module a source."""
