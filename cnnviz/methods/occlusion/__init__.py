"""Maps from hiding parts of the picture or of a layer."""
