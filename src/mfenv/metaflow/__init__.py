"""The only code that imports Metaflow.

`environment`, `decorators` and `enter` are imported by every process that imports Metaflow, in whatever Python a step
asked for: they are readable by Python 3.7, import nothing but the standard library and Metaflow, and reach the rest
of this package (Python 3.10 and later) only where a flow is launched.
"""

# Metaflow imports our plugins while it is imported itself. Whoever begins with one of our modules must not have
# Metaflow look for a class in a module that is half done.
import metaflow  # noqa: F401
