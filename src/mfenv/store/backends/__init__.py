"""The places that a store can be in."""
