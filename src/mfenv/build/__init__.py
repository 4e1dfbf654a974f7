"""Wheels from what is not one yet: source archives, repositories, folders."""
