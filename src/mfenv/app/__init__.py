"""Use cases: values in, values out, nothing printed."""
