"""Effects: locks on files, helper processes, downloads. Each stands behind something that a test can replace."""
