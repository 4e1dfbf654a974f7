"""Text in, values out, and back: one module for each format."""
