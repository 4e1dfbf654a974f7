"""Values and pure rules: what an environment is, what was asked for, what was found. No effects."""
