"""One file a method: pure arithmetic on what probing hands over."""
