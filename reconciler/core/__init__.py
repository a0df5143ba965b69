"""Pure values and functions: no clock, randomness, environment, logging, network or XenAPI."""
