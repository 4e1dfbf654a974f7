"""The test kit: fakes, strategies, contract suites and a real local conda channel, for this project and for others."""
