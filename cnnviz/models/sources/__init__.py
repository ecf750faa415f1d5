"""Where networks come from, one module a source."""
