"""From a report to what a person reads: `text` for terminals, `html` for notebooks and files."""
