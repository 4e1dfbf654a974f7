"""Environments in the formats of other tools."""
