"""The resolvers. Each is imported when it is chosen, and not before."""
