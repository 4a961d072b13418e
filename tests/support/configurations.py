"""The public strategies, under the names that the tests have used."""

from viscy_compat.strategies import buildable, builds, configurations, values

__all__ = ["buildable", "builds", "configurations", "values"]
