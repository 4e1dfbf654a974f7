"""From the image's Python into the step's environment, on a node that has nothing else.

Everything here is for Python 3.8 and the standard library, and imports nothing of `mfenv` but what is here: it runs
before any package exists. A part of it travels on the command line of the task: see `mfenv.metaflow.remote`.
"""
