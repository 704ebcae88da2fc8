"""What tests of several rooms share: a clock that is moved by hand, chance that repeats, a store in a folder."""
