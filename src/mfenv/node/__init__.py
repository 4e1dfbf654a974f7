"""What runs on a node beside the bootstrap, on a Python that `mfenv` knows: makes environments of files that arrive.

It is started by `mfenv.bootstrap.make`, with nothing but the standard library, this package and the unpacked wheels of
the toolchain to import from.
"""
