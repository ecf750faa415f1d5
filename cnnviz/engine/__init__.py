"""The engine: six tools, and every method stands on them."""
