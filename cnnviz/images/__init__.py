"""Reading pictures, and drawing some."""
