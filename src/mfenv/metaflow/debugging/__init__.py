"""Tasks of earlier runs, to be looked at and run again by hand."""
