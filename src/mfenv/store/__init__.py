"""Where locks and what they were made from are kept."""
