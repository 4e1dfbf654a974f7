"""From old spellings to today's: source text in, source text and notes out."""
