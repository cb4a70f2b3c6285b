"""One scorer per file; the file's stem with dashes is its name."""
